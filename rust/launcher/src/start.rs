//! Starts one command: what happens between `clone` and `execve`.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use ferroflow_launcher::message::{DEFAULT_PATH, Spec, Stage};

/// Seconds between the limit of processor time, at which SIGXCPU comes, and the end.
const CPU_GRACE: u64 = 3;

const STACK: usize = 32 << 10;

/// The flag of `clone3` for a control group, of Linux 5.7; libc has it cut off.
const INTO_GROUP: u64 = 0x2_0000_0000;

/// Where the child runs until it executes its program, while the thread that starts it waits.
#[repr(C, align(64))]
struct Stack([u8; STACK]);

/// All that the child needs, put together before: the child shares the launcher's memory, or has a copy in
/// which other threads' locks may be held, so it allocates nothing.
struct Plan<'a> {
    launcher: libc::pid_t,
    data: Option<u64>,
    cpu: Option<u64>,
    cwd: &'a CStr,
    /// Ends with -1.
    descriptors: [RawFd; 5],
    programs: &'a [&'a CStr],
    argv: *const *const c_char,
    env: *const *const c_char,
    /// Where the child failed, and why.
    failed: Option<(Stage, c_int)>,
}

/// Starts a command; `descriptors` are as many as the spec says.
pub(crate) fn start(spec: &Spec<'_>, descriptors: &[OwnedFd]) -> Result<libc::pid_t, (Stage, c_int)> {
    let found = candidates(spec);
    let programs: Vec<&CStr> = found.iter().map(|it| &**it).collect();
    let pointers = |texts: &[&CStr]| -> Vec<*const c_char> {
        texts.iter().map(|it| it.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, env) = (pointers(&spec.argv), pointers(&spec.env));
    let mut numbers = [-1; 5];
    let own = 3 + usize::from(spec.extra);
    for (number, descriptor) in numbers.iter_mut().zip(&descriptors[..own]) {
        *number = descriptor.as_raw_fd();
    }
    let plan = Plan {
        // SAFETY: plain system call.
        launcher: unsafe { libc::getpid() },
        data: spec.data,
        cpu: spec.cpu,
        cwd: spec.cwd,
        descriptors: numbers,
        programs: &programs,
        argv: argv.as_ptr(),
        env: env.as_ptr(),
        failed: None,
    };
    let (pid, failed) = match descriptors.get(own) {
        None => start_here(plan)?,
        Some(group) => start_in_group(plan, group)?,
    };
    match failed {
        None => Ok(pid),
        Some(failure) => {
            // SAFETY: plain system call. It is our child, and has ended or does so at once.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
            Err(failure)
        }
    }
}

type Started = Result<(libc::pid_t, Option<(Stage, c_int)>), (Stage, c_int)>;

/// Starts a child where the launcher is: its number, and where it failed if it did.
fn start_here(mut plan: Plan<'_>) -> Started {
    let mut stack = Box::<Stack>::new_uninit();
    let plan: *mut Plan<'_> = &raw mut plan;
    // SAFETY: the child runs `begin` on a stack of its own, of which this is the upper end. By
    // CLONE_VFORK this thread waits until the child has left this memory, so that `plan`, the stack and
    // what is the thread's own, as `errno` is, live longer than the child and are never used by both at a
    // time. Other threads go on meanwhile: the child takes no lock and allocates nothing, and of what it
    // changes all but its memory is a copy. Signals that have handlers could make both run; there are
    // none.
    let pid = unsafe {
        let top = stack.as_mut_ptr().add(1).cast::<c_void>();
        libc::clone(begin, top, libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD, plan.cast())
    };
    if pid < 0 {
        return Err((Stage::Fork, errno()));
    }
    // SAFETY: as above: the child has left, and nothing else refers to the plan.
    Ok((pid, unsafe { (*plan).failed }))
}

/// Starts a child in a control group. To enter one later takes ten milliseconds and more, as the kernel then
/// waits for all processors. `clone` has no flag for that, and the C library no `clone3` that takes a stack:
/// so this child has a copy of the launcher's memory.
fn start_in_group(plan: Plan<'_>, group: &OwnedFd) -> Started {
    let size = size_of::<Plan<'_>>();
    let mut arguments = [0u64; 11];
    arguments[0] = INTO_GROUP | libc::CLONE_VFORK as u64;
    arguments[4] = libc::SIGCHLD as u64;
    arguments[10] = group.as_raw_fd() as u64;
    // SAFETY: the new mapping has room for a plan, is aligned for it, and is unmapped when nothing refers to
    // it any more. `arguments` is a `clone_args` up to `cgroup`. The child goes on on a copy of this stack,
    // with copies of all that the plan points to; it shares only the plan, and by CLONE_VFORK this thread
    // waits until the child does not use that any more. Of the launcher's threads the child has only this
    // one; it takes no lock and allocates nothing, and `begin` does not return.
    unsafe {
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        let shared = libc::mmap(std::ptr::null_mut(), size, access, flags, -1, 0);
        if shared == libc::MAP_FAILED {
            return Err((Stage::Fork, errno()));
        }
        shared.cast::<Plan<'_>>().write(plan);
        let pid = libc::syscall(libc::SYS_clone3, arguments.as_ptr(), size_of_val(&arguments));
        if pid == 0 {
            begin(shared);
        }
        let errno = errno();
        let failed = (*shared.cast::<Plan<'_>>()).failed;
        libc::munmap(shared, size);
        match errno {
            _ if pid > 0 => Ok((pid as libc::pid_t, failed)),
            libc::EAGAIN | libc::ENOMEM => Err((Stage::Fork, errno)),
            _ => Err((Stage::Cgroup, errno)),
        }
    }
}

/// The paths under which the program may be, in the order of the child's PATH.
fn candidates(spec: &Spec<'_>) -> Vec<CString> {
    let name = spec.argv[0];
    if name.to_bytes().contains(&b'/') || name.is_empty() {
        return vec![name.to_owned()];
    }
    let path = spec.env.iter().find_map(|it| it.to_bytes().strip_prefix(b"PATH="));
    path.unwrap_or(DEFAULT_PATH.as_bytes())
        .split(|&byte| byte == b':')
        .map(|folder| {
            let folder = if folder.is_empty() { b"." } else { folder };
            CString::new([folder, b"/", name.to_bytes()].concat()).expect("parts of C strings have no NUL")
        })
        .collect()
}

extern "C" fn begin(plan: *mut c_void) -> c_int {
    // SAFETY: `start` passes a plan, and does not touch it while this runs.
    let plan = unsafe { &mut *plan.cast::<Plan<'_>>() };
    plan.failed = Some(execute(plan));
    // SAFETY: ends the child without running anything of the launcher's.
    unsafe { libc::_exit(127) }
}

/// Comes back only with what went wrong.
fn execute(plan: &Plan<'_>) -> (Stage, c_int) {
    // SAFETY: plain system calls, on pointers that the plan keeps valid. None of them changes memory
    // that is the launcher's but `errno` of the thread that waits.
    unsafe {
        if libc::setsid() < 0 || libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
            return (Stage::Session, errno());
        }
        // It may have died before that was said.
        if libc::getppid() != plan.launcher {
            return (Stage::Session, libc::ESRCH);
        }
        if libc::chdir(plan.cwd.as_ptr()) < 0 {
            return (Stage::Directory, errno());
        }
        for (number, &descriptor) in (0..).zip(plan.descriptors.iter().take_while(|it| **it >= 0)) {
            if libc::dup2(descriptor, number) < 0 {
                return (Stage::Descriptors, errno());
            }
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        for (resource, limit, extra) in
            [(libc::RLIMIT_CPU, plan.cpu, CPU_GRACE), (libc::RLIMIT_DATA, plan.data, 0)]
        {
            if let Some(limit) = limit
                && !restrict(resource, limit, extra)
            {
                return (Stage::Limit, errno());
            }
        }
        let mut failure = libc::ENOENT;
        for program in plan.programs {
            libc::execve(program.as_ptr(), plan.argv, plan.env);
            match errno() {
                libc::ENOENT | libc::ENOTDIR => {}
                // Another folder may have one that can be executed.
                libc::EACCES => failure = libc::EACCES,
                other => return (Stage::Execute, other),
            }
        }
        (Stage::Execute, failure)
    }
}

/// Sets a limit, or keeps the one that there is if that is lower.
fn restrict(resource: libc::__rlimit_resource_t, limit: u64, extra: u64) -> bool {
    let mut present = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain system calls on a local.
    unsafe {
        if libc::getrlimit(resource, &raw mut present) < 0 {
            return false;
        }
        present.rlim_max = present.rlim_max.min(limit.saturating_add(extra));
        present.rlim_cur = present.rlim_cur.min(limit).min(present.rlim_max);
        libc::setrlimit(resource, &raw const present) == 0
    }
}

fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
