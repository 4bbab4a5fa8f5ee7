//! The planners: each places every task of an instance, by the rule that its paper gives.

mod baseline;
mod batch;
mod bil;
mod cpop;
mod dls;
mod dps;
mod etf;
mod exact;
mod fcp;
mod flb;
mod hbmct;
mod heft;
mod lookahead;
mod msbc;
mod online;
mod peft;
mod wba;

use crate::instance::Instance;
use crate::schedule::Schedule;
use crate::{Error, least_loaded};

/// How a method goes about it, where there is a choice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Whether a task may start before what was placed earlier, in a gap; `None` is as the paper has it.
    pub insertion: Option<bool>,
    /// What random choices come from.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { insertion: None, seed: 1 }
    }
}

macro_rules! methods {
    ($($variant:ident $name:literal $title:literal;)*) => {
        /// A planner.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Method { $(#[doc = $title] $variant,)* }

        impl Method {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What the method is called in the field.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

methods! {
    Heft "heft" "HEFT, Heterogeneous Earliest Finish Time";
    Cpop "cpop" "CPOP, Critical Path On a Processor";
    Peft "peft" "PEFT, Predict Earliest Finish Time";
    Lookahead "lookahead" "HEFT with lookahead";
    Bil "bil" "BIL, Best Imaginary Level";
    Dps "dps" "DPS, Dynamic Priority Scheduling";
    Dls "dls" "DLS, Dynamic Level Scheduling";
    Gdl "gdl" "GDL, Generalised Dynamic Level";
    Etf "etf" "ETF, Earliest Task First";
    Fcp "fcp" "FCP, Fast Critical Path";
    Flb "flb" "FLB, Fast Load Balancing";
    Hbmct "hbmct" "HBMCT, Hybrid Balanced Minimum Completion Time";
    Mct "mct" "MCT, Minimum Completion Time";
    Met "met" "MET, Minimum Execution Time";
    Olb "olb" "OLB, Opportunistic Load Balancing";
    MinMin "min_min" "Min-min";
    MaxMin "max_min" "Max-min";
    Duplex "duplex" "Duplex, the better of min-min and max-min";
    Sufferage "sufferage" "Sufferage";
    Msbc "msbc" "MSBC, Multiple Strict Bounds Constraints";
    Wba "wba" "WBA, Workflow-Based Allocation";
    Exact "exact" "Branch and bound, for tiny graphs";
    LeastLoaded "least_loaded" "Least loaded node, level by level";
    FastestNode "fastest_node" "Everything on the fastest node";
    Random "random" "Each task on a random node";
}

/// The schedule with the least makespan, the first of several.
fn shortest(schedules: impl IntoIterator<Item = Schedule>) -> Schedule {
    let made = schedules.into_iter().map(|it| (it.makespan(), it));
    let best = made.reduce(|best, it| if it.0 < best.0 { it } else { best });
    best.map(|it| it.1).unwrap_or_default()
}

impl Method {
    /// # Errors
    /// If no method has that name.
    pub fn named(name: &str) -> Result<Self, Error> {
        let known = Self::ALL.iter().find(|it| it.name() == name);
        known.copied().ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|it| it.name()).collect();
            Error::UnknownMethod(name.into(), names.join(", "))
        })
    }

    /// Places every task.
    ///
    /// # Errors
    /// If the method is for tiny graphs and this is none.
    pub fn run(self, instance: &Instance, options: Options) -> Result<Schedule, Error> {
        let inserting = options.insertion.unwrap_or(true);
        let appending = options.insertion.unwrap_or(false);
        Ok(match self {
            Self::Heft => heft::heft(instance, inserting),
            Self::Cpop => cpop::cpop(instance, inserting),
            Self::Peft => peft::peft(instance, inserting),
            Self::Lookahead => lookahead::lookahead(instance, inserting),
            Self::Bil => bil::bil(instance, appending),
            Self::Dps => dps::dps(instance, appending),
            Self::Dls => dls::dls(instance, appending),
            Self::Gdl => dls::gdl(instance, appending),
            Self::Etf => etf::etf(instance, appending, options.seed),
            Self::Fcp => fcp::fcp(instance, appending, options.seed),
            Self::Flb => flb::flb(instance, appending, options.seed),
            Self::Hbmct => hbmct::hbmct(instance, appending),
            Self::Mct => online::mct(instance, appending),
            Self::Met => online::met(instance, appending),
            Self::Olb => online::olb(instance, appending),
            Self::MinMin => batch::min_min(instance, appending),
            Self::MaxMin => batch::max_min(instance, appending),
            Self::Duplex => batch::duplex(instance, appending),
            Self::Sufferage => batch::sufferage(instance, appending),
            Self::Msbc => msbc::msbc(instance, appending),
            Self::Wba => wba::wba(instance, appending, options.seed),
            Self::Exact => exact::exact(instance)?,
            Self::LeastLoaded => least_loaded::place(instance, appending),
            Self::FastestNode => baseline::fastest_node(instance, appending),
            Self::Random => baseline::random(instance, appending, options.seed),
        })
    }
}
