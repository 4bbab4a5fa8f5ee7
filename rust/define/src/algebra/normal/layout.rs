//! Steps and order of a block: sequence, parallel and partial dissolved.

use crate::algebra::term::Term;

/// Steps and order of a block; `None` stands for something empty that carries order through it.
#[derive(Default)]
pub(in crate::algebra) struct Layout {
    nodes: Vec<Option<Term>>,
    edges: Vec<(u32, u32)>,
}

impl Layout {
    pub(in crate::algebra) fn lay(&mut self, term: Term) -> (Vec<u32>, Vec<u32>) {
        match term {
            Term::Sequence(terms) => {
                let mut whole: Option<(Vec<u32>, Vec<u32>)> = None;
                for term in terms {
                    let next = self.lay(term);
                    if next.0.is_empty() {
                        continue;
                    }
                    whole = Some(match whole {
                        None => next,
                        Some((entries, exits)) => {
                            self.link(&exits, &next.0);
                            (entries, next.1)
                        }
                    });
                }
                whole.unwrap_or_default()
            }
            Term::Parallel(terms) => {
                let mut whole = (Vec::new(), Vec::new());
                for term in terms {
                    let part = self.lay(term);
                    whole.0.extend(part.0);
                    whole.1.extend(part.1);
                }
                whole
            }
            Term::Partial { terms, edges } => {
                let mut spans: Vec<_> = terms.into_iter().map(|term| self.lay(term)).collect();
                for span in spans.iter_mut().filter(|span| span.0.is_empty()) {
                    let node = self.nodes.len() as u32;
                    self.nodes.push(None);
                    *span = (vec![node], vec![node]);
                }
                let (mut first, mut last) = (vec![true; spans.len()], vec![true; spans.len()]);
                for (from, to) in edges {
                    let (exits, entries) = (spans[from as usize].1.clone(), spans[to as usize].0.clone());
                    self.link(&exits, &entries);
                    last[from as usize] = false;
                    first[to as usize] = false;
                }
                let mut whole = (Vec::new(), Vec::new());
                for (at, span) in spans.into_iter().enumerate() {
                    if first[at] {
                        whole.0.extend(&span.0);
                    }
                    if last[at] {
                        whole.1.extend(span.1);
                    }
                }
                whole
            }
            _ => {
                let node = self.nodes.len() as u32;
                self.nodes.push(Some(term));
                (vec![node], vec![node])
            }
        }
    }

    /// Orders all of one group before all of another; large groups through a node between them.
    fn link(&mut self, before: &[u32], after: &[u32]) {
        if before.len() * after.len() <= 1 << 20 {
            self.edges.extend(before.iter().flat_map(|&from| after.iter().map(move |&to| (from, to))));
        } else {
            let node = self.nodes.len() as u32;
            self.nodes.push(None);
            self.edges.extend(before.iter().map(|&from| (from, node)));
            self.edges.extend(after.iter().map(|&to| (node, to)));
        }
    }

    /// The steps and the order among them alone.
    pub(in crate::algebra) fn steps(self) -> (Vec<Term>, Vec<(u32, u32)>) {
        let mut edges = self.edges;
        for (node, term) in self.nodes.iter().enumerate() {
            if term.is_none() {
                let node = node as u32;
                let before: Vec<u32> = edges.iter().filter(|it| it.1 == node).map(|it| it.0).collect();
                let after: Vec<u32> = edges.iter().filter(|it| it.0 == node).map(|it| it.1).collect();
                edges.retain(|it| it.0 != node && it.1 != node);
                edges.extend(before.iter().flat_map(|&from| after.iter().map(move |&to| (from, to))));
            }
        }
        let mut number = 0;
        let numbers: Vec<u32> = self
            .nodes
            .iter()
            .map(|term| {
                number += u32::from(term.is_some());
                number.wrapping_sub(1)
            })
            .collect();
        let renumbered = edges.into_iter().map(|(a, b)| (numbers[a as usize], numbers[b as usize])).collect();
        (self.nodes.into_iter().flatten().collect(), renumbered)
    }
}
