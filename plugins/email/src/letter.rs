//! From a message to a letter: whose header fields are one line each, whatever the message says.
use std::time::{Duration, SystemTime};

use broadcastd_notifier::{Message, Refused};
use lettre::Message as Letter;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, To};
use lettre::message::{Mailbox, Mailboxes};

/// Who writes to whom.
pub struct Letters {
    from: Mailbox,
    to: Mailboxes,
}

impl Letters {
    pub fn new(from: Mailbox, to: Mailboxes) -> Self {
        Letters { from, to }
    }

    /// The same message makes the same letter at every attempt, so that a mailbox can drop a repeat by its Message-ID.
    pub fn write(&self, message: &Message) -> Result<Letter, Refused> {
        let id = format!("<{}@{}>", message.id, self.from.email.domain());
        Letter::builder()
            .from(self.from.clone())
            .mailbox(To::from(self.to.clone()))
            .date(time(message.unix_ns))
            .subject(one_line(&message.subject))
            .message_id(Some(one_line(&id)))
            .raw_header(by_a_program())
            .header(ContentType::TEXT_PLAIN)
            .body(message.body.replace('\r', ""))
            .map_err(|error| Refused::never(format!("no letter can be made of it: {error}")))
    }
}

/// No vacation notice answers to it (RFC 3834).
fn by_a_program() -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned())
}

/// A line end would begin another header field.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn time(unix_ns: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(unix_ns.max(0).unsigned_abs())
}
