//! Inputs of a run, checked against what the workflow declares.

use ferroflow_define::algebra::compile::Program;
use ferroflow_define::algebra::read::accepts;
use ferroflow_define::value;
use ferroflow_journal::Bytes;

use crate::out::Out;

/// The inputs with defaults filled in, or what is wrong with them.
pub(crate) fn complete_input(program: &Program, bytes: &Bytes) -> Result<Bytes, String> {
    let given = value::entries(bytes).map_err(|error| error.to_string())?;
    let given = given.ok_or("inputs are given as an object")?;
    // Where nothing is to be filled in, they are what was given, without a copy.
    let mut same = value::skip(bytes, 0) == Ok(bytes.len());
    let mut wrong = Vec::new();
    for (name, _) in &given {
        if !program.inputs.iter().any(|input| input.name == *name) {
            let known: Vec<&str> = program.inputs.iter().map(|input| &*input.name).collect();
            wrong.push(format!("there is no input {name:?}; the inputs are {known:?}"));
        }
    }
    same &= given.iter().map(|&(name, _)| name).eq(program.inputs.iter().map(|input| &*input.name));
    let mut out = Out::default();
    rmp::encode::write_map_len(&mut out.bytes, program.inputs.len() as u32)
        .expect("memory takes what is written");
    for input in &program.inputs {
        let found = given.iter().find(|(name, _)| *name == input.name).map(|&(_, bytes)| bytes);
        match found.or(input.default.as_deref()) {
            Some(found) if accepts(&input.kind, found) => {
                rmp::encode::write_str(&mut out.bytes, &input.name).expect("memory takes what is written");
                out.put(found, bytes);
            }
            Some(found) => {
                let kind = value::item(found, 0).map_or("nothing", |(item, _)| item.kind());
                wrong.push(format!("input {:?} is {kind}, and it has to be {}", input.name, input.kind));
            }
            None => wrong.push(format!("input {:?} is missing", input.name)),
        }
    }
    match &wrong[..] {
        [] if same => Ok(bytes.clone()),
        [] => Ok(out.whole()),
        _ => Err(wrong.join("; ")),
    }
}
