//! What is wrong with a notifier, in one text for `/readyz` and the daemon's own stream.

/// What operators should know; nothing of it when all is well.
#[derive(Debug, Default)]
pub struct Trouble {
    /// Why the newest attempt did not deliver, while messages wait.
    pub refused: Option<String>,
    /// Attempts that do not come back.
    pub hanging: usize,
    /// Dead letters that nobody has looked after yet.
    pub dead: usize,
    /// Dead letters that there was no room for, since this instance began.
    pub dropped: u64,
    /// Times that inputs were gone before they were read, since this instance began.
    pub gaps: u64,
}

impl Trouble {
    /// All of it; `None` when all is well.
    pub fn told(&self) -> Option<String> {
        let Trouble { refused, hanging, dead, dropped, gaps } = self;
        let mut parts = Vec::new();
        if *hanging > 0 {
            parts.push(format!("{hanging} attempts do not come back although their time is over"));
        }
        if let Some(why) = refused {
            parts.push(format!("messages are not delivered: {why}"));
        }
        if *dead > 0 {
            parts.push(format!("{dead} messages could not be delivered and are dead letters"));
        }
        if *dropped > 0 {
            parts.push(format!("{dropped} dead letters were dropped for want of room"));
        }
        if *gaps > 0 {
            parts.push(format!(
                "events were gone before they were read ({gaps} times), and nobody was notified of them"
            ));
        }
        if parts.is_empty() { None } else { Some(parts.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_has_its_words_and_none_has_none() {
        assert_eq!(Trouble::default().told(), None);
        let all = Trouble { refused: Some("busy".into()), hanging: 1, dead: 2, dropped: 3, gaps: 4 };
        let words = [
            "1 attempts do not come back although their time is over",
            "messages are not delivered: busy",
            "2 messages could not be delivered and are dead letters",
            "3 dead letters were dropped for want of room",
            "events were gone before they were read (4 times), and nobody was notified of them",
        ];
        assert_eq!(all.told(), Some(words.join("; ")));
    }
}
