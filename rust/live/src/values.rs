//! The values of a run, which the kernel never sees: results of steps, items, inputs, variables;
//! and bindings evaluated over them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use ferroflow_define::algebra::compile::{Bind, Kind, Source};
use ferroflow_define::expr::{Reference, Scope};
use ferroflow_define::value::{self, Item, Segment};
use ferroflow_engine::event::What;
use ferroflow_engine::ids::Value;
use ferroflow_engine::{Run, Step, StepState};
use rmp::encode::{write_array_len, write_map_len, write_sint, write_str};
use rustc_hash::FxHashMap;

/// MessagePack.
pub(crate) type Bytes = Arc<[u8]>;

const NIL: &[u8] = &[0xc0];
const SURE: &str = "memory takes what is written";

/// The items of an `each`, with where each of them starts.
struct Items {
    bytes: Bytes,
    starts: Vec<u32>,
}

#[derive(Default)]
pub(crate) struct Values {
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
    /// Makes known the bytes of a blob that an event is going to name.
    pub(crate) fn blob(&mut self, hash: [u8; 32], bytes: Bytes) {
        self.blobs.insert(hash, bytes);
    }

    /// All events that name the blobs made known have come by.
    pub(crate) fn forget_blobs(&mut self) {
        self.blobs.clear();
    }

    /// The object of the run's inputs.
    pub(crate) fn input(&self) -> &[u8] {
        self.input.as_deref().unwrap_or(NIL)
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
            Value::Inline(bytes) => bytes.clone(),
            Value::Blob { hash, .. } => self.blobs.get(hash).cloned().unwrap_or_else(|| NIL.into()),
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
    pub(crate) fn result(&self, run: &Run) -> Vec<u8> {
        let mut out = Vec::new();
        let view = View::new(self, run, 0, 0);
        if run.is_empty() || view.write(&run.program.blocks[0].result, &mut out).is_err() {
            out = NIL.to_vec();
        }
        out
    }

    /// What a step yields, null if it did not complete.
    pub(crate) fn of_step<'v>(&'v self, run: &Run, step: Step) -> Cow<'v, [u8]> {
        if run.step(step) != Some(StepState::Completed) {
            return Cow::Borrowed(NIL);
        }
        if let Some(bytes) = self.recorded(step) {
            return Cow::Borrowed(bytes);
        }
        let block = |frame: u32, copy: u32, out: &mut Vec<u8>| {
            let (block, _) = run.frame(frame);
            let start = out.len();
            if View::new(self, run, frame, copy)
                .write(&run.program.blocks[block as usize].result, out)
                .is_err()
            {
                out.truncate(start);
                out.extend_from_slice(NIL);
            }
        };
        let frames: Vec<_> = run.frames_of(step).collect();
        let mut out = Vec::new();
        match &run.node(step).kind {
            Kind::Loop { .. } => return Cow::Borrowed(self.states.get(&step).map_or(NIL, |it| it)),
            Kind::Each { .. } => {
                let (frame, _, width, _) = frames.first().copied().unwrap_or((0, 0, 0, true));
                write_array_len(&mut out, width).expect(SURE);
                (0..width).for_each(|copy| block(frame, copy, &mut out));
            }
            Kind::First { count, .. } => {
                let done: Vec<u32> = frames
                    .iter()
                    .filter(|&&(frame, _, _, ended)| ended && !run.frame_failed(frame))
                    .map(|&(frame, ..)| frame)
                    .collect();
                if *count == 1 {
                    if let Some(&frame) = done.first() {
                        block(frame, 0, &mut out);
                    }
                } else {
                    write_array_len(&mut out, done.len() as u32).expect(SURE);
                    done.iter().for_each(|&frame| block(frame, 0, &mut out));
                }
            }
            _ => {
                if let Some(&(frame, ..)) = frames.last() {
                    block(frame, 0, &mut out);
                }
            }
        }
        if out.is_empty() { Cow::Borrowed(NIL) } else { Cow::Owned(out) }
    }

    /// The index of a loop's last body result, for its next state.
    pub(crate) fn body_result(&self, run: &Run, step: Step) -> Option<Vec<u8>> {
        let (frame, _) = run.last_frame_of(step)?;
        let (block, _) = run.frame(frame);
        let mut out = Vec::new();
        match View::new(self, run, frame, 0).write(&run.program.blocks[block as usize].result, &mut out) {
            Ok(()) => Some(out),
            Err(_) => Some(NIL.to_vec()),
        }
    }
}

/// Bindings are resolved from somewhere in a run.
pub(crate) struct View<'v> {
    values: &'v Values,
    run: &'v Run,
    frame: u32,
    copy: u32,
    /// While a loop's condition is evaluated: the loop and its state. It counts as a level.
    inside: Option<(Step, &'v [u8])>,
    /// The step's own result, in `set`.
    result: Option<&'v [u8]>,
}

impl<'v> View<'v> {
    pub(crate) fn new(values: &'v Values, run: &'v Run, frame: u32, copy: u32) -> Self {
        Self { values, run, frame, copy, inside: None, result: None }
    }

    pub(crate) fn of(values: &'v Values, run: &'v Run, step: Step) -> Self {
        let place = run.place(step);
        Self::new(values, run, place.frame, place.copy)
    }

    pub(crate) fn inside(self, step: Step, state: &'v [u8]) -> Self {
        Self { inside: Some((step, state)), ..self }
    }

    pub(crate) fn with_result(self, result: &'v [u8]) -> Self {
        Self { result: Some(result), ..self }
    }

    /// Appends the value of a binding.
    pub(crate) fn write(&self, bind: &Bind, out: &mut Vec<u8>) -> Result<(), String> {
        match bind {
            Bind::Const(bytes) => out.extend_from_slice(bytes),
            Bind::Path { source, segments, expr } => {
                let (bytes, segments) = match (source, segments.first()) {
                    (Source::Vars, Some(Segment::Key(name))) => {
                        let bytes = self.values.vars.get(name);
                        let bytes = bytes
                            .ok_or_else(|| format!("{:?}: no variable {name:?} is set", expr.source()))?;
                        (Cow::Borrowed(&**bytes), &segments[1..])
                    }
                    _ => (self.source(source), &segments[..]),
                };
                let root = || expr.source().split(['[', '.']).next().unwrap_or_default().to_owned();
                if segments.is_empty() {
                    out.extend_from_slice(&bytes);
                } else {
                    let found = value::follow(&root(), &bytes, segments)
                        .map_err(|error| format!("{:?}: {error}", expr.source()))?;
                    out.extend_from_slice(found);
                }
            }
            Bind::Cel { expr, sources } => out.extend(expr.evaluate(&Names { view: self, sources })?),
            Bind::List(items) => {
                write_array_len(out, items.len() as u32).expect(SURE);
                for item in items {
                    self.write(item, out)?;
                }
            }
            Bind::Map(items) => {
                write_map_len(out, items.len() as u32).expect(SURE);
                for (key, item) in items {
                    write_str(out, key).expect(SURE);
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
        let mut out = Vec::new();
        self.write(bind, &mut out)?;
        match value::item(&out, 0) {
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

    fn source(&self, source: &Source) -> Cow<'v, [u8]> {
        let nil = Cow::Borrowed(NIL);
        let (run, values) = (self.run, self.values);
        let owner = |up: u16| self.level(up).and_then(|(frame, _)| run.owner(frame));
        let number = |number: u32| {
            let mut out = Vec::new();
            write_sint(&mut out, i64::from(number)).expect(SURE);
            Cow::Owned(out)
        };
        let stored = |bytes: Option<&'v Bytes>| bytes.map_or(Cow::Borrowed(NIL), |it| Cow::Borrowed(&**it));
        match *source {
            Source::Step { up, node } => match self.level(up) {
                Some((frame, copy)) => values.of_step(run, run.sibling(frame, copy, node)),
                None => nil,
            },
            Source::Input { up } => match owner(up) {
                None => stored(values.input.as_ref()),
                Some(owner) => stored(values.inputs.get(&owner)),
            },
            Source::Item { up } => {
                let Some((frame, copy)) = self.level(up) else { return nil };
                let Some(items) = run.owner(frame).and_then(|owner| values.items.get(&owner)) else {
                    return nil;
                };
                match items.starts.get(copy as usize..copy as usize + 2) {
                    Some(ends) => Cow::Borrowed(&items.bytes[ends[0] as usize..ends[1] as usize]),
                    None => nil,
                }
            }
            Source::Index { up } => self.level(up).map_or(nil, |(_, copy)| number(copy)),
            Source::State { up } => match (self.inside, self.level(up)) {
                (Some((_, state)), None) => Cow::Borrowed(state),
                _ => stored(owner(up).and_then(|owner| values.states.get(&owner))),
            },
            Source::Iteration { up } => match (self.inside, self.level(up)) {
                (Some((step, _)), None) => {
                    number(run.last_frame_of(step).map_or(0, |(_, count)| count as u32))
                }
                (_, Some((frame, _))) => number(run.frame(frame).1),
                _ => nil,
            },
            Source::Error { up } => {
                let Some((step, error)) = self.level(up).and_then(|(frame, _)| run.handles(frame)) else {
                    return nil;
                };
                let mut out = Vec::new();
                write_map_len(&mut out, 3).expect(SURE);
                for (key, text) in
                    [("code", &*error.code), ("message", &*error.message), ("step", &*run.path(*step))]
                {
                    write_str(&mut out, key).expect(SURE);
                    write_str(&mut out, text).expect(SURE);
                }
                Cow::Owned(out)
            }
            Source::Vars => Cow::Owned(values.variables()),
            Source::Result => self.result.map_or(nil, Cow::Borrowed),
        }
    }
}

/// What a CEL expression's names mean in a view.
struct Names<'a, 'v> {
    view: &'a View<'v>,
    sources: &'a [(Reference, Source)],
}

impl Scope for Names<'_, '_> {
    fn get(&self, reference: &Reference) -> Result<Option<Bytes>, String> {
        let Some((_, source)) = self.sources.iter().find(|(name, _)| name == reference) else {
            return Ok(None);
        };
        let member = match source {
            Source::Step { .. } => None,
            _ => reference.member.as_deref(),
        };
        if let (Source::Vars, Some(name)) = (source, member) {
            return Ok(self.view.values.vars.get(name).cloned());
        }
        let bytes = self.view.source(source);
        let Some(member) = member else { return Ok(Some(bytes.into_owned().into())) };
        let entries = value::entries(&bytes).map_err(|error| error.to_string())?;
        let Some(entries) = entries else {
            return Err(format!("{} is no object, so it has no {member:?}", reference.root));
        };
        Ok(entries.iter().rev().find(|(name, _)| *name == member).map(|(_, bytes)| (*bytes).into()))
    }
}
