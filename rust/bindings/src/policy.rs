//! Policies and terms of runs, as Python says them.

use std::collections::HashMap;

use ferroflow_engine::schedule::{By, Policy, Terms};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// (name, ageing: a factor, or microseconds for `priority`; what shares are of; weights in thousandths)
pub(crate) type Spelled = (String, i64, String, HashMap<String, u32>);

/// (policy, runs under way at a time, those that start in one turn, steps of a run at a time, window)
pub(crate) type Scheduling = (Spelled, Option<usize>, usize, Option<u32>, i64);

/// (tenant, tags, weight in thousandths, deadline, limit, plan, whether a body waits for it)
pub(crate) type Asked =
    (Option<String>, Vec<String>, Option<u32>, Option<i64>, Option<u32>, Vec<(String, Option<u32>)>, bool);

pub(crate) fn policy((name, ageing, by, weights): Spelled) -> PyResult<Policy> {
    let factor = u32::try_from(ageing).unwrap_or(u32::MAX);
    Ok(match &*name {
        "fifo" => Policy::Fifo,
        "priority" => Policy::Priority { ageing },
        "upward_rank" => Policy::UpwardRank { ageing: factor },
        "shortest_first" => Policy::ShortestFirst { ageing: factor },
        "longest_first" => Policy::LongestFirst { ageing: factor },
        "fair_share" => Policy::FairShare {
            by: match &*by {
                "tenant" => By::Tenant,
                "tag" => By::Tag,
                "workflow" => By::Workflow,
                "priority" => By::Priority,
                other => return Err(PyValueError::new_err(format!("nothing is shared by {other:?}"))),
            },
            weights: weights.into_iter().map(|(name, weight)| (name.into(), weight)).collect(),
        },
        "round_robin" => Policy::RoundRobin,
        "best_fit" => Policy::BestFit,
        "deadline" => Policy::Deadline,
        "min_memory" => Policy::MinMemory,
        "min_cpu" => Policy::MinCpu,
        "data_locality" => Policy::DataLocality { ageing: factor },
        "plan" => Policy::Plan,
        "custom" => Policy::Given,
        other => return Err(PyValueError::new_err(format!("there is no policy {other:?}"))),
    })
}

pub(crate) fn terms(
    (tenant, tags, weight, deadline, limit, plan, at_once): Asked,
) -> (Terms, Vec<(String, Option<u32>)>, bool) {
    let tags = tags.into_iter().map(Into::into).collect();
    (Terms { tenant: tenant.map(Into::into), tags, weight, deadline, limit }, plan, at_once)
}
