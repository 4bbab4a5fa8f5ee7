//! The values of a run, which the kernel never sees: results of steps, items, inputs, variables;
//! and bindings evaluated over them.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferroflow_define::algebra::compile::{Bind, Kind, Source};
use ferroflow_define::expr::{Reference, Scope};
use ferroflow_define::value::{self, Item, Segment};
use ferroflow_engine::event::What;
use ferroflow_engine::ids::Value;
use ferroflow_engine::{Run, Step, StepState};
use ferroflow_journal::Bytes;
use rmp::encode::{write_array_len, write_map_len, write_sint, write_str};
use rustc_hash::FxHashMap;

use crate::out::Out;

const NIL: &[u8] = &[0xc0];
const SURE: &str = "memory takes what is written";

fn nil() -> Bytes {
    NIL.into()
}

/// The extension type of a value that its consumers share.
const SHARED: i8 = 5;

/// Marks a value as one that its consumers share.
pub(crate) fn shared(bytes: &Bytes) -> Bytes {
    let mut head = Vec::with_capacity(6);
    rmp::encode::write_ext_meta(&mut head, bytes.len() as u32, SHARED).expect(SURE);
    Bytes::gather(&[&head, bytes])
}

/// The value itself, for whoever looks into it.
pub(crate) fn inner(bytes: &[u8]) -> &[u8] {
    match value::item(bytes, 0) {
        Ok((Item::Ext(SHARED, inner), _)) => inner,
        _ => bytes,
    }
}

/// The items of an `each`, with where each of them starts.
struct Items {
    bytes: Bytes,
    starts: Vec<u32>,
}

pub(crate) struct Values {
    /// Bytes that a value may have which is put together.
    most: usize,
    input: Option<Bytes>,
    /// Recorded results by step. Those of most composites are put together when asked for.
    results: Vec<Option<Bytes>>,
    /// Present state of each loop.
    states: FxHashMap<Step, Bytes>,
    items: FxHashMap<Step, Items>,
    /// Inputs of sub-workflows.
    inputs: FxHashMap<Step, Bytes>,
    signals: Vec<Bytes>,
    vars: BTreeMap<Arc<str>, Bytes>,
    /// Blobs that events name, until the event comes by.
    blobs: FxHashMap<[u8; 32], Bytes>,
}

impl Values {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            input: None,
            results: Vec::new(),
            states: FxHashMap::default(),
            items: FxHashMap::default(),
            inputs: FxHashMap::default(),
            signals: Vec::new(),
            vars: BTreeMap::new(),
            blobs: FxHashMap::default(),
        }
    }

    /// Makes known the bytes of a blob that an event is going to name.
    pub(crate) fn blob(&mut self, hash: [u8; 32], bytes: Bytes) {
        self.blobs.insert(hash, bytes);
    }

    /// All events that name the blobs made known have come by.
    pub(crate) fn forget_blobs(&mut self) {
        self.blobs.clear();
    }

    /// The object of the run's inputs.
    pub(crate) fn input(&self) -> Bytes {
        self.input.clone().unwrap_or_else(nil)
    }

    /// The object of the run's variables.
    pub(crate) fn variables(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write_map_len(&mut out, self.vars.len() as u32).expect(SURE);
        for (name, bytes) in &self.vars {
            write_str(&mut out, name).expect(SURE);
            out.extend_from_slice(bytes);
        }
        out
    }

    /// The inputs of the workflow, or of the sub-workflow, that a step belongs to.
    pub(crate) fn inputs_at(&self, run: &Run, step: Step) -> &[u8] {
        let mut frame = run.place(step).frame;
        while let Some(owner) = run.owner(frame) {
            if let Some(inputs) = self.inputs.get(&owner) {
                return inputs;
            }
            frame = run.place(owner).frame;
        }
        self.input.as_deref().unwrap_or(NIL)
    }

    pub(crate) fn recorded(&self, step: Step) -> Option<&Bytes> {
        self.results.get(step as usize)?.as_ref()
    }

    fn bytes(&mut self, value: &Value) -> Bytes {
        match value {
            Value::Inline(bytes) => bytes.clone().into(),
            Value::Blob { hash, .. } => self.blobs.get(hash).cloned().unwrap_or_else(nil),
        }
    }

    fn put(&mut self, step: Step, bytes: Bytes) {
        let at = step as usize;
        if self.results.len() <= at {
            self.results.resize(at + 1, None);
        }
        self.results[at] = Some(bytes);
    }

    /// Keeps what an event carries.
    pub(crate) fn observe(&mut self, what: &What, at: i64) {
        match what {
            What::RunCreated { input, .. } => self.input = Some(self.bytes(input)),
            What::StepCompleted { step, value, .. } | What::Computed { step, value } => {
                let bytes = self.bytes(value);
                self.put(*step, bytes);
            }
            What::Slept { step, until } => {
                let mut out = Vec::new();
                write_map_len(&mut out, 2).expect(SURE);
                write_str(&mut out, "delayed_ms").expect(SURE);
                write_sint(&mut out, (until - at) / 1000).expect(SURE);
                write_str(&mut out, "completed_at").expect(SURE);
                rmp::encode::write_f64(&mut out, *until as f64 / 1e6).expect(SURE);
                self.put(*step, out.into());
            }
            What::Looped { step, state, .. } => {
                let bytes = self.bytes(state);
                self.states.insert(*step, bytes);
            }
            What::Expanded { step, items, .. } => {
                let bytes = self.bytes(items);
                let mut starts = Vec::new();
                if let Ok((Item::List(count), mut at)) = value::item(&bytes, 0) {
                    for _ in 0..count {
                        starts.push(at as u32);
                        let Ok(next) = value::skip(&bytes, at) else { break };
                        at = next;
                    }
                    starts.push(at as u32);
                }
                self.items.insert(*step, Items { bytes, starts });
            }
            What::Entered { step, inputs } => {
                let bytes = self.bytes(inputs);
                self.inputs.insert(*step, bytes);
            }
            What::SignalReceived { value, .. } => {
                let bytes = self.bytes(value);
                self.signals.push(bytes);
            }
            What::SignalTaken { step, signal } => {
                if let Some(bytes) = self.signals.get(*signal as usize).cloned() {
                    self.put(*step, bytes);
                }
            }
            What::VariableSet { name, value } => {
                let bytes = self.bytes(value);
                self.vars.insert(name.clone(), bytes);
            }
            _ => {}
        }
    }

    /// What the whole run yields.
    pub(crate) fn result(&self, run: &Run) -> Result<Out, String> {
        let mut out = Out::default();
        self.of_block(run, 0, 0, &mut out)?;
        Ok(out)
    }

    /// Appends what a copy of a frame's block yields.
    fn of_block(&self, run: &Run, frame: u32, copy: u32, out: &mut Out) -> Result<(), String> {
        let (block, _) = run.frame(frame);
        View::new(self, run, frame, copy).write(&run.program.blocks[block as usize].result, out)
    }

    /// What a step yields, null if it did not complete. It may be too large to be put together.
    pub(crate) fn of_step(&self, run: &Run, step: Step) -> Result<Bytes, String> {
        match self.kept(run, step) {
            Some(bytes) => Ok(bytes.clone()),
            None => {
                let mut out = Out::default();
                self.write_step(run, step, &mut out)?;
                Ok(out.whole())
            }
        }
    }

    /// What a step yields, if that need not be put together.
    fn kept(&self, run: &Run, step: Step) -> Option<&Bytes> {
        let completed = run.step(step) == Some(StepState::Completed);
        let recorded = self.recorded(step).filter(|_| completed);
        recorded.or_else(|| match run.node(step).kind {
            Kind::Loop { .. } if completed => self.states.get(&step),
            _ => None,
        })
    }

    /// Appends what a step yields.
    fn write_step(&self, run: &Run, step: Step, out: &mut Out) -> Result<(), String> {
        if let Some(bytes) = self.kept(run, step) {
            out.put(bytes, bytes);
            return Ok(());
        }
        if run.step(step) != Some(StepState::Completed) {
            out.bytes.extend_from_slice(NIL);
            return Ok(());
        }
        let frames: Vec<_> = run.frames_of(step).collect();
        match &run.node(step).kind {
            Kind::Each { .. } => {
                let (frame, _, width, _) = frames.first().copied().unwrap_or((0, 0, 0, true));
                write_array_len(&mut out.bytes, width).expect(SURE);
                (0..width).try_for_each(|copy| self.of_block(run, frame, copy, out))?;
            }
            Kind::First { count, .. } => {
                let done: Vec<u32> = frames
                    .iter()
                    .filter(|&&(frame, _, _, ended)| ended && !run.frame_failed(frame))
                    .map(|&(frame, ..)| frame)
                    .collect();
                if *count != 1 {
                    write_array_len(&mut out.bytes, done.len() as u32).expect(SURE);
                    done.iter().try_for_each(|&frame| self.of_block(run, frame, 0, out))?;
                } else if let Some(&frame) = done.first() {
                    self.of_block(run, frame, 0, out)?;
                } else {
                    out.bytes.extend_from_slice(NIL);
                }
            }
            Kind::Loop { .. } => out.bytes.extend_from_slice(NIL),
            _ => match frames.last() {
                Some(&(frame, ..)) => self.of_block(run, frame, 0, out)?,
                None => out.bytes.extend_from_slice(NIL),
            },
        }
        Ok(())
    }

    /// What the last iteration of a loop yields: its next state. `None` before the first.
    pub(crate) fn body_result(&self, run: &Run, step: Step) -> Result<Option<Bytes>, String> {
        let Some((frame, _)) = run.last_frame_of(step) else { return Ok(None) };
        let mut out = Out::default();
        self.of_block(run, frame, 0, &mut out)?;
        Ok(Some(out.whole()))
    }
}

/// Bindings are resolved from somewhere in a run.
pub(crate) struct View<'v> {
    values: &'v Values,
    run: &'v Run,
    frame: u32,
    copy: u32,
    /// While a loop's condition is evaluated: the loop and its state. It counts as a level.
    inside: Option<(Step, &'v Bytes)>,
    /// The step's own result, in `set`.
    result: Option<&'v Bytes>,
}

impl<'v> View<'v> {
    pub(crate) fn new(values: &'v Values, run: &'v Run, frame: u32, copy: u32) -> Self {
        Self { values, run, frame, copy, inside: None, result: None }
    }

    pub(crate) fn of(values: &'v Values, run: &'v Run, step: Step) -> Self {
        let place = run.place(step);
        Self::new(values, run, place.frame, place.copy)
    }

    pub(crate) fn inside(self, step: Step, state: &'v Bytes) -> Self {
        Self { inside: Some((step, state)), ..self }
    }

    pub(crate) fn with_result(self, result: &'v Bytes) -> Self {
        Self { result: Some(result), ..self }
    }

    /// Appends the value of a binding. Blocks within blocks can multiply a value, so that its size is
    /// looked at wherever it grows.
    pub(crate) fn write(&self, bind: &Bind, out: &mut Out) -> Result<(), String> {
        self.append(bind, out)?;
        let most = self.values.most;
        if out.len() > most {
            return Err(format!(
                "the value has more than the {most} bytes that are allowed; pass on less, or open the engine \
                 with a larger max_value"
            ));
        }
        Ok(())
    }

    fn append(&self, bind: &Bind, out: &mut Out) -> Result<(), String> {
        match bind {
            Bind::Const(bytes) => out.bytes.extend_from_slice(bytes),
            Bind::Path { source: Source::Step { up, node }, segments, .. } if segments.is_empty() => {
                match self.level(*up) {
                    Some((frame, copy)) => {
                        let step = self.run.sibling(frame, copy, *node);
                        self.values.write_step(self.run, step, out)?;
                    }
                    None => out.bytes.extend_from_slice(NIL),
                }
            }
            Bind::Path { source, segments, expr } => {
                let (found, segments) = match (source, segments.first()) {
                    (Source::Vars, Some(Segment::Key(name))) => {
                        let bytes = self.values.vars.get(name);
                        let bytes = bytes
                            .ok_or_else(|| format!("{:?}: no variable {name:?} is set", expr.source()))?;
                        (Found::Kept(bytes, bytes), &segments[1..])
                    }
                    _ => (self.source(source)?, &segments[..]),
                };
                let (bytes, owner) = found.parts();
                let root = || expr.source().split(['[', '.']).next().unwrap_or_default().to_owned();
                if segments.is_empty() {
                    out.put(bytes, owner);
                } else {
                    let found = value::follow(&root(), inner(bytes), segments)
                        .map_err(|error| format!("{:?}: {error}", expr.source()))?;
                    out.put(found, owner);
                }
            }
            Bind::Cel { expr, sources } => {
                out.bytes.extend_from_slice(&expr.evaluate(&Names { view: self, sources })?);
            }
            Bind::List(items) => {
                write_array_len(&mut out.bytes, items.len() as u32).expect(SURE);
                for item in items {
                    self.write(item, out)?;
                }
            }
            Bind::Map(items) => {
                write_map_len(&mut out.bytes, items.len() as u32).expect(SURE);
                for (key, item) in items {
                    write_str(&mut out.bytes, key).expect(SURE);
                    self.write(item, out)?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn holds(&self, bind: &Bind) -> Result<bool, String> {
        if let Bind::Cel { expr, sources } = bind {
            return expr.holds(&Names { view: self, sources });
        }
        let mut out = Out::default();
        self.write(bind, &mut out)?;
        match value::item(inner(&out.whole()), 0) {
            Ok((Item::Bool(truth), _)) => Ok(truth),
            Ok((other, _)) => Err(format!("a condition has to be bool, and this is {}", other.kind())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The frame and copy so many levels up; `None` for the loop whose condition this is.
    fn level(&self, up: u16) -> Option<(u32, u32)> {
        let climb = match (self.inside, up) {
            (Some(_), 0) => return None,
            (Some(_), up) => up - 1,
            (None, up) => up,
        };
        let mut at = (self.frame, self.copy);
        for _ in 0..climb {
            let place = self.run.parent(at.0)?;
            at = (place.frame, place.copy);
        }
        Some(at)
    }

    fn source(&self, source: &Source) -> Result<Found<'v>, String> {
        let none = || Found::Made(nil());
        let (run, values) = (self.run, self.values);
        let owner = |up: u16| self.level(up).and_then(|(frame, _)| run.owner(frame));
        let number = |number: u32| {
            let mut out = Vec::new();
            write_sint(&mut out, i64::from(number)).expect(SURE);
            Found::Made(out.into())
        };
        let kept = |bytes: &'v Bytes| Found::Kept(bytes, bytes);
        let stored = |bytes: Option<&'v Bytes>| bytes.map_or_else(none, kept);
        Ok(match *source {
            Source::Step { up, node } => match self.level(up) {
                Some((frame, copy)) => {
                    let step = run.sibling(frame, copy, node);
                    match values.kept(run, step) {
                        Some(bytes) => kept(bytes),
                        None => Found::Made(values.of_step(run, step)?),
                    }
                }
                None => none(),
            },
            Source::Input { up } => match owner(up) {
                None => stored(values.input.as_ref()),
                Some(owner) => stored(values.inputs.get(&owner)),
            },
            Source::Item { up } => {
                let Some((frame, copy)) = self.level(up) else { return Ok(none()) };
                let Some(items) = run.owner(frame).and_then(|owner| values.items.get(&owner)) else {
                    return Ok(none());
                };
                match items.starts.get(copy as usize..copy as usize + 2) {
                    Some(ends) => Found::Kept(&items.bytes[ends[0] as usize..ends[1] as usize], &items.bytes),
                    None => none(),
                }
            }
            Source::Index { up } => self.level(up).map_or_else(none, |(_, copy)| number(copy)),
            Source::State { up } => match (self.inside, self.level(up)) {
                (Some((_, state)), None) => kept(state),
                _ => stored(owner(up).and_then(|owner| values.states.get(&owner))),
            },
            Source::Iteration { up } => match (self.inside, self.level(up)) {
                (Some((step, _)), None) => {
                    number(run.last_frame_of(step).map_or(0, |(_, count)| count as u32))
                }
                (_, Some((frame, _))) => number(run.frame(frame).1),
                _ => none(),
            },
            Source::Error { up } => {
                let Some((step, error)) = self.level(up).and_then(|(frame, _)| run.handles(frame)) else {
                    return Ok(none());
                };
                let mut out = Vec::new();
                write_map_len(&mut out, 3).expect(SURE);
                for (key, text) in
                    [("code", &*error.code), ("message", &*error.message), ("step", &*run.path(*step))]
                {
                    write_str(&mut out, key).expect(SURE);
                    write_str(&mut out, text).expect(SURE);
                }
                Found::Made(out.into())
            }
            Source::Vars => Found::Made(values.variables().into()),
            Source::Result => stored(self.result),
        })
    }
}

/// Where a source's bytes are: kept by the run, as a part of what is kept, or made for whoever asked.
enum Found<'v> {
    Kept(&'v [u8], &'v Bytes),
    Made(Bytes),
}

impl Found<'_> {
    /// The bytes, and what they are a part of.
    fn parts(&self) -> (&[u8], &Bytes) {
        match self {
            Found::Kept(part, whole) => (part, whole),
            Found::Made(bytes) => (bytes, bytes),
        }
    }
}

/// What a CEL expression's names mean in a view.
struct Names<'a, 'v> {
    view: &'a View<'v>,
    sources: &'a [(Reference, Source)],
}

impl Scope for Names<'_, '_> {
    fn get(&self, reference: &Reference) -> Result<Option<Arc<[u8]>>, String> {
        let Some((_, source)) = self.sources.iter().find(|(name, _)| name == reference) else {
            return Ok(None);
        };
        let member = match source {
            Source::Step { .. } => None,
            _ => reference.member.as_deref(),
        };
        if let (Source::Vars, Some(name)) = (source, member) {
            return Ok(self.view.values.vars.get(name).map(Bytes::to_arc));
        }
        let found = self.view.source(source)?;
        let (bytes, _) = found.parts();
        let Some(member) = member else { return Ok(Some(inner(bytes).into())) };
        let entries = value::entries(inner(bytes)).map_err(|error| error.to_string())?;
        let Some(entries) = entries else {
            return Err(format!("{} is no object, so it has no {member:?}", reference.root));
        };
        Ok(entries.iter().rev().find(|(name, _)| *name == member).map(|(_, bytes)| (*bytes).into()))
    }
}
