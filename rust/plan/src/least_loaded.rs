//! Placement by load.

use crate::builder::Builder;
use crate::instance::Instance;
use crate::schedule::Schedule;

pub(crate) fn place(instance: &Instance, insertion: bool) -> Schedule {
    let builder = Builder::new(instance, insertion);
    builder.finish()
}
