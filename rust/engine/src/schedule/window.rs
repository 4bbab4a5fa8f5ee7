//! Steps that become ready within a window gather, and are ranked and placed together when it ends.

use super::policy::Facts;
use super::queue::Entry;
use super::{Class, Schedule};
use crate::ids::{Micros, Step};

#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    length: Micros,
    /// When the first of those that gather became ready.
    opened: Micros,
    gathered: Vec<(Entry, Class, Facts)>,
}

impl Schedule {
    /// How long steps gather from the first one on; 0: not at all.
    pub fn set_window(&mut self, length: Micros) {
        self.window.length = length.max(0);
    }

    /// Keeps an entry for the end of the window; says whether there is one.
    pub(super) fn gather(&mut self, entry: Entry, class: Class, facts: &Facts) -> bool {
        let window = &mut self.window;
        if window.length == 0 {
            return false;
        }
        if window.gathered.is_empty() {
            window.opened = entry.since;
        }
        window.gathered.push((entry, class, *facts));
        true
    }

    /// When the steps that gather may start.
    pub fn due(&self) -> Option<Micros> {
        let window = &self.window;
        (!window.gathered.is_empty()).then(|| window.opened.saturating_add(window.length))
    }

    /// Ranks what has gathered, if its time has come; says whether it has.
    pub fn tick(&mut self, now: Micros) -> bool {
        let due = self.due().is_some_and(|due| due <= now);
        if due {
            for (entry, class, facts) in std::mem::take(&mut self.window.gathered) {
                self.place(entry, class, &facts);
            }
        }
        due
    }

    /// Whether a step gathers with others.
    pub fn gathers(&self, run: u32, step: Step) -> bool {
        self.window.gathered.iter().any(|(entry, ..)| (entry.run, entry.step) == (run, step))
    }

    /// How many of a lane gather.
    pub(super) fn gathering(&self, lane: u8) -> usize {
        self.window.gathered.iter().filter(|(_, class, _)| self.lane(*class) == lane).count()
    }
}
