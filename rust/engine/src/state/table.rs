//! The one transition table: guards, checker, documentation and diagrams come from it.

use std::fmt;

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($state:ident $text:literal $terminal:literal),* $(,)? }
     $table:ident { $($from:ident -> $($to:ident)|*),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($state),* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$state),*];

            pub const fn name(self) -> &'static str {
                match self { $($name::$state => $text),* }
            }

            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|state| state.name() == text)
            }

            /// A state that the engine never leaves; only a person's command does.
            pub const fn is_terminal(self) -> bool {
                match self { $($name::$state => $terminal),* }
            }

            /// Where the table lets this state go.
            pub const fn successors(self) -> &'static [$name] {
                match self { $($name::$from => &[$($name::$to),*]),* }
            }

            pub fn may_become(self, to: $name) -> bool {
                self.successors().contains(&to)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

states! {
    /// What a run is doing.
    RunState {
        Created "created" false, Running "running" false, Paused "paused" false,
        Blocked "blocked" false, Completed "completed" true, Failed "failed" true,
        Cancelled "cancelled" true, TimedOut "timed_out" true,
        Compensating "compensating" false, Compensated "compensated" true,
        CompensationFailed "compensation_failed" true,
    }
    RUN {
        Created -> Running | Cancelled | Failed | Blocked,
        Running -> Paused | Completed | Failed | Cancelled | TimedOut | Blocked | Compensating,
        Paused -> Running | Failed | Cancelled | TimedOut | Blocked | Compensating,
        Blocked -> Running | Paused | Cancelled,
        Completed -> Compensating,
        Failed -> Compensating,
        Cancelled -> Compensating,
        TimedOut -> Compensating,
        Compensating -> Compensated | CompensationFailed,
        Compensated -> ,
        CompensationFailed -> ,
    }
}

states! {
    /// What a step is doing. A failed attempt that will be retried is `Waiting`, so `Failed` is final.
    StepState {
        Pending "pending" false, Ready "ready" false, Leased "leased" false, Running "running" false,
        Waiting "waiting" false, Completed "completed" true, Failed "failed" true,
        Skipped "skipped" true, Cancelled "cancelled" true, TimedOut "timed_out" true,
        Compensating "compensating" false, Compensated "compensated" true,
        CompensationFailed "compensation_failed" true,
    }
    STEP {
        Pending -> Ready | Running | Waiting | Completed | Skipped | Cancelled,
        Ready -> Leased | Running | Waiting | Completed | Failed | Cancelled,
        Leased -> Running | Ready | Cancelled,
        Running -> Ready | Waiting | Completed | Failed | Cancelled | TimedOut,
        Waiting -> Ready | Completed | Failed | Cancelled | TimedOut,
        Completed -> Compensating,
        Failed -> Compensating,
        Skipped -> ,
        Cancelled -> Compensating,
        TimedOut -> Compensating,
        Compensating -> Compensated | CompensationFailed,
        Compensated -> ,
        CompensationFailed -> ,
    }
}

/// The table as a Mermaid state diagram; `docs/states.md` holds what this prints.
pub fn diagrams() -> String {
    fn one<S: Copy + fmt::Display + 'static>(
        title: &str,
        all: &[S],
        next: impl Fn(S) -> &'static [S],
    ) -> String {
        let mut text = format!("## {title}\n\n```mermaid\nstateDiagram-v2\n");
        for &from in all {
            for to in next(from) {
                text += &format!("    {from} --> {to}\n");
            }
        }
        text + "```\n"
    }
    format!(
        "# States\n\nDrawn from the transition table of the kernel.\n\n{}\n{}",
        one("Run", RunState::ALL, RunState::successors),
        one("Step", StepState::ALL, StepState::successors),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Req: P5.105, P5.112, P7.19, P7.160, P8.15, P8.23
    #[test]
    fn only_a_persons_command_leaves_a_terminal_state() {
        for &state in RunState::ALL {
            if state.is_terminal() {
                assert!(state.successors().iter().all(|&to| to == RunState::Compensating), "{state}");
            }
        }
        for &state in StepState::ALL {
            if state.is_terminal() {
                assert!(state.successors().iter().all(|&to| to == StepState::Compensating), "{state}");
            }
        }
        assert!(RunState::Created.may_become(RunState::Cancelled));
        assert!(RunState::Paused.may_become(RunState::Cancelled));
        assert!(!RunState::Paused.may_become(RunState::Completed));
    }

    #[test]
    fn names_parse_back() {
        for &state in StepState::ALL {
            assert_eq!(StepState::parse(state.name()), Some(state));
        }
    }

    /// Req: P5.164
    #[test]
    fn the_documented_diagrams_are_the_table() {
        assert_eq!(include_str!("../../../../docs/states.md"), diagrams());
    }
}
