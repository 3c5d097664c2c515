//! The close codes, each with what it means between this daemon and its clients.

/// The connection has done what it was opened for; also the answer to a close without a code.
pub const NORMAL: u16 = 1000;
/// The daemon stops, or the client leaves its page.
pub const GOING_AWAY: u16 = 1001;
/// The bytes are not what RFC 6455 allows.
pub const PROTOCOL_ERROR: u16 = 1002;
/// The dialect cannot read such a message: binary where text is spoken, or text without sense in a dialect that closes for it.
pub const UNSUPPORTED: u16 = 1003;
/// Stands for a close without a code, and is in no frame.
pub const NO_CODE: u16 = 1005;
/// A text message or a close reason is not UTF-8.
pub const INVALID_TEXT: u16 = 1007;
/// The client abuses the daemon: too many messages, errors or subscriptions.
pub const POLICY: u16 = 1008;
/// The message is longer than the endpoint takes.
pub const TOO_BIG: u16 = 1009;
/// The daemon failed; the client did nothing wrong.
pub const INTERNAL: u16 = 1011;
/// The daemon restarts; the reason carries when to come back.
pub const RESTART: u16 = 1012;
/// No room now, or the client lagged too far behind: come back and resume by position.
pub const TRY_AGAIN: u16 = 1013;
/// The identity is missing, refused or expired; coming back with the same token is of no use.
pub const UNAUTHORIZED: u16 = 4001;

/// Whether a close frame may carry `code`: 1004, 1005, 1006 and 1015 only describe a connection to its own side, and
/// nobody has defined the rest of 1000 to 2999.
pub fn is_allowed_in_frame(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_code_may_be_sent() {
        let named = [
            NORMAL,
            GOING_AWAY,
            PROTOCOL_ERROR,
            UNSUPPORTED,
            INVALID_TEXT,
            POLICY,
            TOO_BIG,
            INTERNAL,
            RESTART,
            TRY_AGAIN,
            UNAUTHORIZED,
        ];
        assert!(named.into_iter().all(is_allowed_in_frame));
    }

    #[test]
    fn codes_at_the_edges() {
        for refused in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
            assert!(!is_allowed_in_frame(refused), "{refused} must be refused");
        }
        for allowed in [1000, 1003, 1007, 1014, 3000, 4999] {
            assert!(is_allowed_in_frame(allowed), "{allowed} must be allowed");
        }
    }
}
