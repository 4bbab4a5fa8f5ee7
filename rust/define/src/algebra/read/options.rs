//! The options of a step: retries, limits, resources, promises.

use std::collections::BTreeMap;

use super::fields::first;
use super::{PRIORITIES, Reader};
use crate::algebra::term::{Backoff, Limits, Options, Resources, Retry};
use crate::units;
use crate::value::Item;

impl Reader {
    pub(super) fn options(&mut self, bytes: &[u8], place: &str) -> Options {
        let Some(mut object) = self.object(bytes, place) else { return Options::default() };
        let at = object.at("retry");
        let retry = object.take("retry").and_then(|bytes| self.retry(bytes, &at));
        let at = object.at("timeout");
        let timeout = object.take("timeout").and_then(|bytes| self.duration(bytes, &at));
        let at = object.at("expected");
        let expected = object.take("expected").and_then(|bytes| self.duration(bytes, &at));
        // Here 0 is nothing, as where nothing is said: no default of the engine is to be outdone.
        let at = object.at("heartbeat");
        let heartbeat = object.take("heartbeat").and_then(|bytes| self.duration(bytes, &at));
        let at = object.at("limits");
        let limits = object.take("limits").map(|bytes| self.limits(bytes, &at)).unwrap_or_default();
        let at = object.at("grace");
        let grace = object.take("grace").and_then(|bytes| self.duration(bytes, &at));
        let at = object.at("priority");
        let priority = object.take("priority").and_then(|bytes| self.one_of(bytes, &at, PRIORITIES));
        let at = object.at("on_upstream_failure");
        let upstream =
            object.take("on_upstream_failure").and_then(|bytes| self.one_of(bytes, &at, ["skip", "run"]));
        let at = object.at("commutes_with");
        let mut commutes_with = Vec::new();
        if let Some(bytes) = object.take("commutes_with") {
            for (index, name) in self.list(bytes, &at).into_iter().enumerate() {
                commutes_with.push(self.name(name, &format!("{at}[{index}]")));
            }
            commutes_with.sort();
            commutes_with.dedup();
        }
        let at = object.at("resources");
        let mut amounts = BTreeMap::new();
        if let Some(bytes) = object.take("resources")
            && let Some(fields) = self.object(bytes, &at)
        {
            for &(name, bytes) in &fields.fields {
                if let Some(amount) = self.amount(name, bytes, &fields.at(name)) {
                    amounts.insert(name.to_owned(), amount);
                }
            }
        }
        let options = Options {
            retry,
            timeout,
            expected,
            heartbeat: heartbeat.filter(|&micros| micros > 0),
            limits,
            grace,
            priority: priority.map(|class| class as u8),
            tolerated: !self.flag(&mut object, "critical", true),
            run_on_upstream_failure: upstream == Some(1),
            resources: Resources { amounts },
            pure: self.flag(&mut object, "pure", false),
            idempotent: self.flag(&mut object, "idempotent", false),
            commutes_with,
            share: self.flag(&mut object, "share", false),
        };
        self.finish(
            object,
            "retry, timeout, expected, heartbeat, limits, grace, priority, critical, on_upstream_failure, \
             resources, pure, idempotent, commutes_with, share",
        );
        options
    }

    fn limits(&mut self, bytes: &[u8], place: &str) -> Limits {
        let Some(mut object) = self.object(bytes, place) else { return Limits::default() };
        let at = object.at("memory");
        let memory = object.take("memory").and_then(|bytes| match first(bytes) {
            Item::Nil => None,
            _ => self.amount("memory", bytes, &at),
        });
        let at = object.at("cpu");
        let cpu = object.take("cpu").and_then(|bytes| self.duration(bytes, &at));
        self.finish(object, "memory, cpu");
        Limits { memory: memory.filter(|&bytes| bytes > 0), cpu: cpu.filter(|&micros| micros > 0) }
    }

    fn amount(&mut self, name: &str, bytes: &[u8], place: &str) -> Option<u64> {
        let size = matches!(name, "memory" | "disk");
        let amount = match first(bytes) {
            Item::Int(number) => number as f64,
            Item::Float(number) => number,
            Item::Str(text) if size => match units::parse_size(text) {
                Ok(bytes) => bytes as f64,
                Err(message) => {
                    self.problem("bad-size", place, message, "give bytes or a text such as \"2GiB\"");
                    return None;
                }
            },
            _ => {
                self.wrong(bytes, place, if size { "a size" } else { "a number" });
                return None;
            }
        };
        let scale = if size { 1.0 } else { 1000.0 };
        if !(0.0..=9e15).contains(&(amount * scale)) {
            self.problem(
                "bad-option",
                place,
                format!("{amount} is out of range"),
                "give an amount that is not negative",
            );
            return None;
        }
        Some((amount * scale).round() as u64)
    }

    fn retry(&mut self, bytes: &[u8], place: &str) -> Option<Retry> {
        if let Item::Int(retries @ 0..=1_000_000) = first(bytes) {
            return Some(Retry {
                max_retries: retries as u32,
                backoff: Backoff::Exponential,
                delay: 1_000_000,
                factor_milli: 2000,
                cap: None,
                jitter_milli: 0,
            });
        }
        let mut object = self.object(bytes, place)?;
        let at = object.at("delay");
        let delay = object.take("delay").and_then(|bytes| self.duration(bytes, &at)).unwrap_or(1_000_000);
        let at = object.at("backoff");
        let backoff = object
            .take("backoff")
            .and_then(|bytes| self.one_of(bytes, &at, ["exponential", "fixed", "linear"]));
        let at = object.at("cap");
        let cap = object.take("cap").and_then(|bytes| self.duration(bytes, &at));
        let retry = Retry {
            max_retries: self.count(&mut object, "max_retries", 0).unwrap_or(3),
            backoff: [Backoff::Exponential, Backoff::Fixed, Backoff::Linear][backoff.unwrap_or(0)],
            delay,
            factor_milli: (self.number(&mut object, "factor", 2.0, (1.0, 1000.0)) * 1000.0).round() as u32,
            cap,
            jitter_milli: (self.number(&mut object, "jitter", 0.0, (0.0, 1.0)) * 1000.0).round() as u32,
        };
        self.finish(object, "max_retries, delay, backoff, factor, cap, jitter");
        Some(retry)
    }
}
