//! Bindings of steps, evaluated: arguments of tasks, and what composites ask for.

use std::sync::Arc;

use ferroflow_define::algebra::compile::{Bind, Kind, Program};
use ferroflow_define::units;
use ferroflow_define::value::{self, Item};
use ferroflow_engine::{Micros, Run, Step};
use ferroflow_journal::Bytes;

use crate::out::Out;
use crate::values::{Values, View, inner};

pub(crate) fn bind_arguments(
    view: &View<'_>,
    args: &[Bind],
    kwargs: &[(Arc<str>, Bind)],
    out: &mut Out,
) -> Result<(), String> {
    const SURE: &str = "memory takes what is written";
    rmp::encode::write_array_len(&mut out.bytes, args.len() as u32 + 1).expect(SURE);
    for (at, bind) in args.iter().enumerate() {
        view.write(bind, out).map_err(|message| format!("argument {at}: {message}"))?;
    }
    rmp::encode::write_map_len(&mut out.bytes, kwargs.len() as u32).expect(SURE);
    for (name, bind) in kwargs {
        rmp::encode::write_str(&mut out.bytes, name).expect(SURE);
        view.write(bind, out).map_err(|message| format!("argument {name:?}: {message}"))?;
    }
    Ok(())
}

pub(crate) enum Found {
    Chosen(Option<u32>),
    Looped(bool, Bytes),
    Expanded(u32, Bytes),
    Entered(Bytes),
    Computed(Bytes),
    Slept(Micros),
}

/// What the bindings of a composite come to.
pub(crate) fn evaluate(run: &Run, values: &Values, step: Step) -> Result<Found, String> {
    let program: &Program = &run.program;
    let place = run.place(step);
    let view = || View::of(values, run, step);
    let plain = |bind: &Bind| {
        let mut out = Out::default();
        view().write(bind, &mut out).map(|()| out.whole())
    };
    Ok(match &program.blocks[place.block as usize].nodes[place.node as usize].kind {
        Kind::Compute(bind) => Found::Computed(plain(bind)?),
        Kind::Scope { inputs, .. } => Found::Entered(plain(inputs)?),
        Kind::Choice { branches, .. } => {
            for (at, (condition, _)) in branches.iter().enumerate() {
                if view().holds(condition)? {
                    return Ok(Found::Chosen(Some(at as u32)));
                }
            }
            Found::Chosen(None)
        }
        Kind::Loop { init, condition, .. } => {
            let state = match values.body_result(run, step)? {
                Some(state) => state,
                None => plain(init)?,
            };
            let again = view().inside(step, &state).holds(condition)?;
            Found::Looped(again, state)
        }
        Kind::Each { items, .. } => {
            let items = plain(items)?;
            let items = items.slice_of(inner(&items));
            match value::item(&items, 0) {
                Ok((Item::List(count), _)) => Found::Expanded(count, items),
                Ok((other, _)) => return Err(format!("`each` needs a list, and this is {}", other.kind())),
                Err(error) => return Err(error.to_string()),
            }
        }
        Kind::Sleep(duration) => {
            let duration = plain(duration)?;
            let micros = match value::item(inner(&duration), 0) {
                Ok((Item::Int(seconds), _)) => units::seconds_to_micros(seconds as f64),
                Ok((Item::Float(seconds), _)) => units::seconds_to_micros(seconds),
                Ok((Item::Str(text), _)) => units::parse_duration(text),
                Ok((other, _)) => {
                    Err(format!("a duration is seconds or a text, and this is {}", other.kind()))
                }
                Err(error) => Err(error.to_string()),
            };
            Found::Slept(micros?)
        }
        _ => return Err("this step asks nothing".to_owned()),
    })
}
