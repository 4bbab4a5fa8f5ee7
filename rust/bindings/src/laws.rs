//! Laws of the algebra: what they say, and whether one holds for given terms.

use ferroflow_define::Definition;
use ferroflow_define::algebra::laws::{Condition, Event, LAWS, Law, Trace};
use ferroflow_define::expr::Expr;
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;

/// Steps, state, promise, text.
type Point = (Vec<String>, &'static str, &'static str, String);
/// What is needed, state, points, how many more.
type Needed = (String, &'static str, Vec<Point>, usize);
/// Side, events, the steps that matter, whether the others are there, why the other side can't run.
type Counter = (&'static str, Vec<(&'static str, String)>, Vec<String>, bool, Option<String>);

/// All laws, as (name, equation, how many letters, what it needs).
#[pyfunction]
pub(crate) fn laws() -> Vec<(&'static str, String, u8, Vec<String>)> {
    let needs = |law: &Law| law.needs.iter().map(ToString::to_string).collect();
    LAWS.iter().map(|law| (law.name, law.equation(), law.letters, needs(law))).collect()
}

/// Whether a law holds for terms: (why it does or does not, whether it does, conditions, counter-example).
#[pyfunction]
pub(crate) fn verify_law(
    py: Python<'_>,
    law: &str,
    terms: &[u8],
    when: &str,
) -> PyResult<(&'static str, bool, Vec<Needed>, Option<Counter>)> {
    let law = Law::named(law).ok_or_else(|| PyKeyError::new_err(law.to_owned()))?;
    let when = Expr::parse(when).map_err(PyValueError::new_err)?;
    let proof = py.detach(|| law.verify(&Definition::read(terms)?, &when));
    let proof = proof.map_err(|found| crate::problems(py, found))?;
    let conditions = proof.conditions.into_iter().map(needed).collect();
    let verdict = proof.verdict;
    Ok((verdict.name(), verdict.holds(), conditions, proof.counter_example.map(counter)))
}

fn needed(it: Condition) -> Needed {
    let points = it.points.into_iter().map(|it| (it.steps, it.state.name(), it.by, it.says));
    (it.needs, it.state.name(), points.collect(), it.more)
}

fn counter(it: Trace) -> Counter {
    let event = |event| match event {
        Event::Start(step) => ("start", step),
        Event::End(step) => ("end", step),
        Event::Decide(holds) => ("decide", holds.to_string()),
    };
    let side = if it.left { "left" } else { "right" };
    (side, it.events.into_iter().map(event).collect(), it.matters, it.whole, it.stuck)
}
