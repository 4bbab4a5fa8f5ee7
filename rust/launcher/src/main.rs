//! The launcher: one small program that starts and ends all commands of an engine.
//!
//! An engine can't do that itself: it has a large address space, and Linux carries the peak of a parent's
//! memory over into what its child is said to have used. The launcher is the leader of a session of its
//! own, so that what is typed at a terminal does not reach it or the commands, and it adopts what commands
//! leave behind. It ends, and everything below it before that, when the engine closes the connection or is
//! no more.
//!
//! Each line has a thread, which starts a command, waits for its end, and says so at once: between the end
//! of one and the start of the next, nobody waits for another thread. The main thread hears the engine,
//! and ends what commands have left behind. A command is started by `clone(CLONE_VFORK)`: until it executes
//! its program, which a dead network disk can delay, the thread of its line waits.

mod family;
mod line;
mod serve;
mod setup;
mod start;

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(engine) = std::env::args().nth(1).and_then(|argument| argument.parse().ok()) else {
        eprintln!("this program is started by ferroflow's engine; it is of no use to anybody else");
        return ExitCode::from(2);
    };
    match setup::prepare(engine).and_then(serve::Launcher::new) {
        Ok(launcher) => {
            launcher.run();
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}
