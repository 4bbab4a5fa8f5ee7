//! Graphs in compressed sparse row form.
