//! One run in a process of its own, with a time limit.

use std::io::Read;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::report::Line;
use crate::workload::Workload;

/// What to run.
#[derive(Debug)]
pub struct Child<'a> {
    /// The build.
    pub executable: &'a Path,
    /// The workload.
    pub workload: &'a Workload,
    /// The system, as named in that build.
    pub system: &'a str,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With a line.
    Printed(Line),
    /// By the time limit.
    TooSlow,
    /// With a message on standard error, or a crash.
    Failed(String),
}

/// How often to look whether a child has ended: far less than the time of a run.
const POLL: Duration = Duration::from_millis(2);

impl Child<'_> {
    /// Runs it to the end or to the limit.
    pub fn run(&self, limit: Duration) -> Ended {
        let mut command = Command::new(self.executable);
        command.arg("run").arg(self.workload.kind().name());
        command.args(self.workload.sizes().iter().map(u64::to_string));
        command.args(["--system", self.system]);
        if let Some(order) = self.workload.unusual_order() {
            command.args(["--order", order.name()]);
        }
        if let Some(length) = self.workload.unusual_length() {
            command.args(["--seconds", &length.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Ended::Failed(format!("could not be started: {error}")),
        };
        // Both outputs fit the pipes, so nothing needs to be read before the end.
        let deadline = Instant::now() + limit;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() >= deadline => {
                    // It may have ended by itself just now, which makes no difference.
                    _ = child.kill();
                    _ = child.wait();
                    return Ended::TooSlow;
                }
                Ok(None) => thread::sleep(POLL),
                Err(error) => return Ended::Failed(format!("could not be waited for: {error}")),
            }
        };
        let mut stdout = String::new();
        let mut stderr = String::new();
        _ = child.stdout.take().map(|mut pipe| pipe.read_to_string(&mut stdout));
        _ = child.stderr.take().map(|mut pipe| pipe.read_to_string(&mut stderr));
        judge(status, &stdout, &stderr)
    }
}

fn judge(status: ExitStatus, stdout: &str, stderr: &str) -> Ended {
    if !status.success() {
        let message = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
        return Ended::Failed(format!("{status}: {message}"));
    }
    match stdout.trim().lines().collect::<Vec<_>>()[..] {
        [line] => Line::parse(line).map_or_else(|| Ended::Failed(format!("not a report: {line}")), Ended::Printed),
        _ => Ended::Failed("expected one line on standard output".to_owned()),
    }
}
