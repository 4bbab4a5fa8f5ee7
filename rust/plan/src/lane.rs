//! What a node is busy with over time, and when a task can start there.

/// The time of one node.
#[derive(Clone, Debug)]
pub(crate) enum Lane {
    Single(Single),
    Shared(Shared),
}

/// A task that looks for a start: when its data are there, how long it takes, what it takes up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) ready: f64,
    pub(crate) exec: f64,
    pub(crate) demand: &'a [u64],
    /// Whether it may start before what was placed earlier.
    pub(crate) insertion: bool,
    /// A finish of at least this much is of no interest: some such finish is returned instead.
    pub(crate) limit: f64,
}

impl Lane {
    pub(crate) fn new(single: bool, capacity: &[u64]) -> Self {
        if single {
            return Self::Single(Single::default());
        }
        let used = vec![0; capacity.len()];
        Self::Shared(Shared { capacity: capacity.into(), times: vec![0.0], used, end: 0.0 })
    }

    /// When all that was placed has ended.
    pub(crate) fn end(&self) -> f64 {
        match self {
            Self::Single(lane) => lane.end,
            Self::Shared(lane) => lane.end,
        }
    }

    /// When the node could take one more core's worth of work after all that was placed.
    pub(crate) fn available(&self) -> f64 {
        match self {
            Self::Single(lane) => lane.end,
            Self::Shared(lane) => lane.times[lane.appending(&[1])],
        }
    }

    /// The earliest start.
    pub(crate) fn earliest(&self, wish: Wish<'_>) -> f64 {
        match self {
            Self::Single(lane) => lane.earliest(wish),
            Self::Shared(lane) => lane.earliest(wish),
        }
    }

    pub(crate) fn place(&mut self, start: f64, finish: f64, demand: &[u64]) {
        match self {
            Self::Single(lane) => lane.place(start, finish),
            Self::Shared(lane) => lane.place(start, finish, demand),
        }
    }
}

/// A node that runs one task at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Single {
    /// Idle times before `end`, ascending, none of length zero.
    gaps: Vec<(f64, f64)>,
    /// When tasks end, ascending: where one that takes no time can stand.
    ends: Vec<f64>,
    end: f64,
}

impl Single {
    fn earliest(&self, wish: Wish<'_>) -> f64 {
        let Wish { ready, exec, limit, .. } = wish;
        if !wish.insertion || ready >= self.end {
            return ready.max(self.end);
        }
        let from = self.gaps.partition_point(|gap| gap.1 < ready + exec);
        if exec == 0.0 {
            // Between two tasks there is always room for what takes no time.
            let inside = self.gaps.get(from).is_some_and(|gap| gap.0 <= ready);
            let next = self.ends.partition_point(|&end| end < ready);
            return if inside { ready } else { self.ends.get(next).copied().unwrap_or(ready) };
        }
        for &(start, end) in &self.gaps[from..] {
            let start = start.max(ready);
            if start + exec <= end || start + exec >= limit {
                return start;
            }
        }
        self.end
    }

    fn place(&mut self, start: f64, finish: f64) {
        let at = self.ends.partition_point(|&end| end < finish);
        self.ends.insert(at, finish);
        if start >= self.end {
            if start > self.end {
                self.gaps.push((self.end, start));
            }
            self.end = finish;
            return;
        }
        let at = self.gaps.partition_point(|gap| gap.1 <= start);
        let Some(&(from, to)) = self.gaps.get(at) else { return };
        if start >= to || finish <= from || start == finish {
            return;
        }
        match (from < start, finish < to) {
            (true, true) => {
                self.gaps[at].1 = start;
                self.gaps.insert(at + 1, (finish, to));
            }
            (true, false) => self.gaps[at].1 = start,
            (false, true) => self.gaps[at].0 = finish,
            (false, false) => {
                self.gaps.remove(at);
            }
        }
    }
}

/// A node whose resources several tasks share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    capacity: Box<[u64]>,
    /// When what is used changes; the first is 0, and from the last on nothing is used.
    times: Vec<f64>,
    /// What is used from each of these times on: a row a time.
    used: Vec<u64>,
    end: f64,
}

impl Shared {
    fn has_room(&self, at: usize, demand: &[u64]) -> bool {
        let used = &self.used[at * self.capacity.len()..];
        demand.iter().zip(used).zip(&self.capacity).all(|((wanted, used), has)| wanted + used <= *has)
    }

    /// The first of the times from which on there is room for ever.
    fn appending(&self, demand: &[u64]) -> usize {
        let mut at = self.times.len() - 1;
        while at > 0 && self.has_room(at - 1, demand) {
            at -= 1;
        }
        at
    }

    fn earliest(&self, wish: Wish<'_>) -> f64 {
        let Wish { ready, exec, demand, limit, .. } = wish;
        if exec == 0.0 {
            return ready;
        }
        if !wish.insertion {
            return ready.max(self.times[self.appending(demand)]);
        }
        let mut start = ready;
        let mut at = self.times.partition_point(|&time| time <= ready).saturating_sub(1);
        while at < self.times.len() && self.times[at] < start + exec && start + exec < limit {
            if !self.has_room(at, demand) {
                start = self.times[at + 1].max(ready);
            }
            at += 1;
        }
        start
    }

    /// The place of a time, which is made if there is none.
    fn cut(&mut self, time: f64) -> usize {
        let at = self.times.partition_point(|&known| known < time);
        if self.times.get(at) != Some(&time) {
            let width = self.capacity.len();
            self.times.insert(at, time);
            let from = (at - 1) * width;
            let row = self.used[from..from + width].to_vec();
            self.used.splice(at * width..at * width, row);
        }
        at
    }

    fn place(&mut self, start: f64, finish: f64, demand: &[u64]) {
        if start == finish {
            return;
        }
        let (from, to) = (self.cut(start), self.cut(finish));
        let width = self.capacity.len();
        for row in self.used[from * width..to * width].chunks_mut(width) {
            for (used, wanted) in row.iter_mut().zip(demand) {
                *used += wanted;
            }
        }
        self.end = self.end.max(finish);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wish(ready: f64, exec: f64, insertion: bool) -> Wish<'static> {
        Wish { ready, exec, demand: &[1, 0], insertion, limit: f64::INFINITY }
    }

    proptest! {
        /// A node of one core that is kept as shared agrees with one that is kept as single.
        #[test]
        fn both_kinds_of_lane_find_the_same_starts(
            wishes in proptest::collection::vec((0u32..40, 1u32..9, any::<bool>()), 1..40)
        ) {
            let (mut single, mut shared) = (Lane::new(true, &[1, 0]), Lane::new(false, &[1, 0]));
            let mut placed: Vec<(f64, f64)> = Vec::new();
            for (ready, exec, insertion) in wishes {
                let wish = wish(ready.into(), exec.into(), insertion);
                let start = single.earliest(wish);
                prop_assert_eq!(start, shared.earliest(wish));
                prop_assert!(start >= wish.ready);
                let finish = start + wish.exec;
                prop_assert!(placed.iter().all(|it| it.1 <= start || finish <= it.0));
                // No earlier start would do: starts are ready times or ends.
                let starts = placed.iter().map(|it| it.1).chain([wish.ready]);
                let earlier = starts.filter(|&it| wish.ready <= it && it < start);
                for it in earlier.filter(|_| insertion) {
                    prop_assert!(placed.iter().any(|other| other.0 < it + wish.exec && it < other.1));
                }
                placed.push((start, finish));
                for lane in [&mut single, &mut shared] {
                    lane.place(start, finish, &[1, 0]);
                }
            }
        }
    }

    #[test]
    fn what_takes_no_time_stands_between_tasks() {
        let mut lane = Lane::new(true, &[1, 0]);
        lane.place(0.0, 2.0, &[1, 0]);
        lane.place(2.0, 4.0, &[1, 0]);
        assert_eq!(lane.earliest(wish(1.0, 0.0, true)), 2.0);
        assert_eq!(lane.earliest(wish(3.0, 0.0, true)), 4.0);
        assert_eq!(lane.earliest(wish(1.0, 0.0, false)), 4.0);
    }

    #[test]
    fn cores_and_memory_are_shared() {
        let mut lane = Lane::new(false, &[4, 10]);
        lane.place(0.0, 5.0, &[2, 8]);
        let ask = |lane: &Lane, demand: &'static [u64]| {
            lane.earliest(Wish { ready: 1.0, exec: 2.0, demand, insertion: true, limit: f64::INFINITY })
        };
        assert_eq!(ask(&lane, &[2, 2]), 1.0);
        assert_eq!(ask(&lane, &[2, 3]), 5.0);
        assert_eq!(ask(&lane, &[3, 0]), 5.0);
        lane.place(1.0, 3.0, &[2, 2]);
        assert_eq!(ask(&lane, &[1, 0]), 3.0);
        assert_eq!(lane.available(), 3.0);
    }
}
