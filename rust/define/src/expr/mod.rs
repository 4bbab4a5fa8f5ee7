//! CEL expressions: checked when a definition is read, evaluated by a driver.

/// A checked expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    source: String,
}
