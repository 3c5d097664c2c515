//! The terminal while it is drawn on: keys come one by one, what was on it comes back at the end.

use std::io::{self, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// A screen of its own, without a cursor; and back to what was there.
const BEGIN: &str = "\x1b[?1049h\x1b[?25l";
const END: &str = "\x1b[?25h\x1b[?1049l";
/// To the upper left corner; what is left of a line, and of the screen below, is wiped.
const HOME: &str = "\x1b[H";
const WIPE_LINE: &str = "\x1b[K";
const WIPE_BELOW: &str = "\x1b[J";
/// What a terminal that does not say has.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// Ends when it is dropped.
pub struct Terminal {
    before: Termios,
}

impl Terminal {
    /// The terminal that the command is used at; `None` where it writes or reads something else.
    pub fn open() -> io::Result<Option<Self>> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin())?;
        let mut modes = before.clone();
        // Ctrl-C is a key among others, or the terminal would stay as it is now.
        modes.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Now, &modes)?;
        let terminal = Self { before };
        terminal.write(BEGIN)?;
        Ok(Some(terminal))
    }

    /// Columns and lines.
    pub fn size(&self) -> (usize, usize) {
        let told = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        told.map_or(USUAL_SIZE, |size| (size.ws_col.into(), size.ws_row.into()))
    }

    /// Shows a picture, whose lines fit, in place of the one before.
    pub fn show(&self, picture: &str) -> io::Result<()> {
        let lines: Vec<String> = picture.lines().map(|line| format!("{line}{WIPE_LINE}")).collect();
        self.write(&format!("{HOME}{}{WIPE_BELOW}", lines.join("\r\n")))
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing any more.
        _ = self.write(END);
        _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
