//! Messages between an engine and its launcher, as bytes. Whatever bytes come, decoding ends.

use std::ffi::CStr;

/// Bytes that a message has at most. A spec that needs more is handed over in a file.
pub const LARGEST: usize = 64 << 10;

/// Bytes that a spec in a file has at most: more than Linux takes for arguments and environment.
pub const LARGEST_SPEC: usize = 16 << 20;

/// The variable by which the launcher recognises what a command has left behind.
pub const COMMAND_MARK: &str = "FERROFLOW_COMMAND";

/// Where programs are looked for if the child has no PATH.
pub const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What is to be run. Descriptors come beside it: standard input, output, errors, and then those
/// that it says it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec<'a> {
    pub argv: Vec<&'a CStr>,
    /// `NAME=value`: all that the child gets.
    pub env: Vec<&'a CStr>,
    /// Absolute.
    pub cwd: &'a CStr,
    /// Bytes of RLIMIT_DATA.
    pub data: Option<u64>,
    /// Seconds of RLIMIT_CPU.
    pub cpu: Option<u64>,
    /// One more descriptor comes along, the child's number 3.
    pub extra: bool,
    /// The `cgroup.procs` of the group that the child is to enter comes along.
    pub cgroup: bool,
}

/// What an engine asks for. A line is a connection over which one command at a time is asked for, and
/// told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Here is one end of another line.
    Open,
    /// A signal for all of a command. Nothing comes back.
    Kill { id: u64, signal: i32 },
    /// Over a line.
    Spawn { id: u64, spec: Spec<'a> },
    /// The same; the spec is in a file, which is the first of the descriptors.
    SpawnLarge { id: u64 },
}

/// What a child was being prepared for when that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Spec,
    Descriptors,
    Fork,
    Session,
    Limit,
    Cgroup,
    Directory,
    Execute,
}

const STAGES: [Stage; 8] = [
    Stage::Spec,
    Stage::Descriptors,
    Stage::Fork,
    Stage::Session,
    Stage::Limit,
    Stage::Cgroup,
    Stage::Directory,
    Stage::Execute,
];

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Code(i32),
    Signal { signal: i32, core: bool },
}

/// What a process, and those of its children that it waited for, used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Microseconds, in user mode and in the system.
    pub cpu: u64,
    /// KiB.
    pub peak: u64,
    /// Blocks of 512 bytes.
    pub read: u64,
    pub written: u64,
}

/// What the launcher says over a line: that the command was refused, or that it runs, and later that
/// it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `started` is in clock ticks since the machine was booted.
    Spawned {
        pid: u32,
        started: u64,
    },
    Refused {
        stage: Stage,
        errno: i32,
    },
    Exited {
        status: Status,
        usage: Usage,
    },
}

/// These bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("these bytes are no message")
    }
}

impl std::error::Error for Malformed {}

const SPAWN: u8 = 1;
const SPAWN_LARGE: u8 = 2;
const KILL: u8 = 3;
const OPEN: u8 = 4;

const SPAWNED: u8 = 1;
const REFUSED: u8 = 2;
const EXITED: u8 = 3;

const DATA: u8 = 1;
const CPU: u8 = 2;
const EXTRA: u8 = 4;
const CGROUP: u8 = 8;

impl<'a> Spec<'a> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(
            flag(self.data.is_some(), DATA)
                | flag(self.cpu.is_some(), CPU)
                | flag(self.extra, EXTRA)
                | flag(self.cgroup, CGROUP),
        );
        for limit in [self.data, self.cpu].into_iter().flatten() {
            out.extend(limit.to_le_bytes());
        }
        out.extend((self.argv.len() as u32).to_le_bytes());
        out.extend((self.env.len() as u32).to_le_bytes());
        out.extend(self.cwd.to_bytes_with_nul());
        for text in self.argv.iter().chain(&self.env) {
            out.extend(text.to_bytes_with_nul());
        }
    }

    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut bytes = Bytes(bytes);
        let flags = bytes.u8()?;
        if flags & !(DATA | CPU | EXTRA | CGROUP) != 0 {
            return Err(Malformed);
        }
        let data = (flags & DATA != 0).then(|| bytes.u64()).transpose()?;
        let cpu = (flags & CPU != 0).then(|| bytes.u64()).transpose()?;
        let (arguments, variables) = (bytes.u32()?, bytes.u32()?);
        let cwd = bytes.text()?;
        // A count that lies runs into the end of the bytes: nothing is allocated on its word.
        let argv = (0..arguments).map(|_| bytes.text()).collect::<Result<Vec<_>, _>>()?;
        let env = (0..variables).map(|_| bytes.text()).collect::<Result<Vec<_>, _>>()?;
        bytes.end()?;
        if argv.is_empty() {
            return Err(Malformed);
        }
        Ok(Self { argv, env, cwd, data, cpu, extra: flags & EXTRA != 0, cgroup: flags & CGROUP != 0 })
    }

    /// How many descriptors come along.
    pub fn descriptors(&self) -> usize {
        3 + usize::from(self.extra) + usize::from(self.cgroup)
    }
}

impl<'a> Request<'a> {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let (kind, id) = match *self {
            Request::Open => return vec![OPEN],
            Request::Spawn { id, .. } => (SPAWN, id),
            Request::SpawnLarge { id } => (SPAWN_LARGE, id),
            Request::Kill { id, .. } => (KILL, id),
        };
        out.push(kind);
        out.extend(id.to_le_bytes());
        match self {
            Request::Spawn { spec, .. } => spec.encode(&mut out),
            Request::Kill { signal, .. } => out.extend(signal.to_le_bytes()),
            Request::SpawnLarge { .. } | Request::Open => {}
        }
        out
    }

    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut bytes = Bytes(bytes);
        let request = match bytes.u8()? {
            OPEN => Request::Open,
            SPAWN => return Ok(Request::Spawn { id: bytes.u64()?, spec: Spec::decode(bytes.0)? }),
            SPAWN_LARGE => Request::SpawnLarge { id: bytes.u64()? },
            KILL => Request::Kill { id: bytes.u64()?, signal: bytes.i32()? },
            _ => return Err(Malformed),
        };
        bytes.end()?;
        Ok(request)
    }
}

impl Reply {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        match *self {
            Reply::Spawned { pid, started } => {
                out.push(SPAWNED);
                out.extend(pid.to_le_bytes());
                out.extend(started.to_le_bytes());
            }
            Reply::Refused { stage, errno } => {
                out.extend([REFUSED, stage as u8]);
                out.extend(errno.to_le_bytes());
            }
            Reply::Exited { status, usage } => {
                let (kind, number) = match status {
                    Status::Code(code) => (0, code),
                    Status::Signal { signal, core } => (1 + u8::from(core), signal),
                };
                out.extend([EXITED, kind]);
                out.extend(number.to_le_bytes());
                for number in [usage.cpu, usage.peak, usage.read, usage.written] {
                    out.extend(number.to_le_bytes());
                }
            }
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut bytes = Bytes(bytes);
        let reply = match bytes.u8()? {
            SPAWNED => Reply::Spawned { pid: bytes.u32()?, started: bytes.u64()? },
            REFUSED => {
                let stage = *STAGES.get(usize::from(bytes.u8()?)).ok_or(Malformed)?;
                Reply::Refused { stage, errno: bytes.i32()? }
            }
            EXITED => {
                let (kind, number) = (bytes.u8()?, bytes.i32()?);
                let status = match kind {
                    0 => Status::Code(number),
                    1 | 2 => Status::Signal { signal: number, core: kind == 2 },
                    _ => return Err(Malformed),
                };
                let usage = Usage {
                    cpu: bytes.u64()?,
                    peak: bytes.u64()?,
                    read: bytes.u64()?,
                    written: bytes.u64()?,
                };
                Reply::Exited { status, usage }
            }
            _ => return Err(Malformed),
        };
        bytes.end()?;
        Ok(reply)
    }
}

/// What is left to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a CStr, Malformed> {
        let text = CStr::from_bytes_until_nul(self.0).map_err(|_| Malformed)?;
        self.0 = &self.0[text.to_bytes_with_nul().len()..];
        Ok(text)
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests;
