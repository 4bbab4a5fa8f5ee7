//! Inputs of a run, checked against what the workflow declares.

use ferroflow_define::algebra::compile::Program;
use ferroflow_define::algebra::read::accepts;
use ferroflow_define::value;

/// The inputs with defaults filled in, or what is wrong with them.
pub(crate) fn complete_input(program: &Program, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let given = value::entries(bytes).map_err(|error| error.to_string())?;
    let given = given.ok_or("inputs are given as an object")?;
    let mut wrong = Vec::new();
    for (name, _) in &given {
        if !program.inputs.iter().any(|input| input.name == *name) {
            let known: Vec<&str> = program.inputs.iter().map(|input| &*input.name).collect();
            wrong.push(format!("there is no input {name:?}; the inputs are {known:?}"));
        }
    }
    let mut out = Vec::new();
    rmp::encode::write_map_len(&mut out, program.inputs.len() as u32).expect("memory takes what is written");
    for input in &program.inputs {
        let found = given.iter().find(|(name, _)| *name == input.name).map(|&(_, bytes)| bytes);
        match found.or(input.default.as_deref()) {
            Some(bytes) if accepts(&input.kind, bytes) => {
                rmp::encode::write_str(&mut out, &input.name).expect("memory takes what is written");
                out.extend_from_slice(bytes);
            }
            Some(bytes) => {
                let kind = value::item(bytes, 0).map_or("nothing", |(item, _)| item.kind());
                wrong.push(format!("input {:?} is {kind}, and it has to be {}", input.name, input.kind));
            }
            None => wrong.push(format!("input {:?} is missing", input.name)),
        }
    }
    if wrong.is_empty() { Ok(out) } else { Err(wrong.join("; ")) }
}
