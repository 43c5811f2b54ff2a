//! The command on a terminal, with a user who reads and types.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

const ROWS: u16 = 24;

/// A terminal in which a command runs.
pub(crate) struct Terminal {
    child: Child,
    screen: File,
    shown: String,
}

impl Terminal {
    /// Starts a command with all its streams on a terminal. `typed` is typed before it starts.
    pub(crate) fn start(command: &mut Command, typed: &str) -> Self {
        Self::with_columns(80, command, typed)
    }

    /// Starts a command on a terminal of this width.
    pub(crate) fn with_columns(columns: u16, command: &mut Command, typed: &str) -> Self {
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        tcsetwinsize(&screen, Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let name = ptsname(&screen, Vec::new()).unwrap().into_string().unwrap();
        let seat = || OpenOptions::new().read(true).write(true).open(&name).unwrap();
        let mut screen = File::from(screen);
        let (stdin, stdout, stderr) = (seat(), seat(), seat());
        screen.write_all(typed.as_bytes()).unwrap();
        let child = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn().unwrap();
        // `command` also holds the command's ends. While they are open, the terminal would never hang up.
        for close in [Command::stdin, Command::stdout, Command::stderr] {
            close(command, std::process::Stdio::null());
        }
        Self { child, screen, shown: String::new() }
    }

    /// Waits until the screen ends with this text.
    pub(crate) fn until(&mut self, end: &str) {
        while !self.shown.ends_with(end) {
            assert!(self.read(), "the command ended: {}", self.shown);
        }
    }

    /// Types.
    pub(crate) fn type_in(&mut self, keys: &str) {
        self.screen.write_all(keys.as_bytes()).unwrap();
    }

    /// Sends Ctrl-C.
    pub(crate) fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// Waits for the end. Returns the exit code and everything that appeared on the screen.
    pub(crate) fn end(mut self) -> (i32, String) {
        while self.read() {}
        (
            self.child.wait().unwrap().code().expect("the process ended by itself"),
            self.shown.replace("\r\n", "\n"),
        )
    }

    /// Waits for the end. Returns the exit code and the final screen, without trailing spaces.
    pub(crate) fn last_screen(self) -> (i32, String) {
        let columns = tcgetwinsize(&self.screen).unwrap().ws_col;
        let (code, written) = self.end();
        let mut screen = vt100::Parser::new(ROWS, columns, 0);
        screen.process(written.replace('\n', "\r\n").as_bytes());
        (code, screen.screen().contents())
    }

    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        // Reading fails when all processes have closed the terminal.
        let read = self.screen.read(&mut bytes).unwrap_or(0);
        self.shown.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        read > 0
    }
}
