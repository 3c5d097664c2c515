//! Every configuration error has a stable code: the one table of them, each with one sentence.

/// Makes the constants and the table from the same lines, so that no code can be missing from either.
macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $name: &str = $code;)*

        /// All codes with what they mean, in order.
        pub const ALL: &[(&str, &str)] = &[$(($code, $meaning)),*];
    };
}

codes! {
    SYNTAX = "C001", "The text is not TOML; nothing else is checked until it is.";
    UNKNOWN_KEY = "C002", "No such setting exists at this place.";
    MISSING_KEY = "C003", "A setting without a default is missing.";
    WRONG_TYPE = "C004", "The value is of another type than the setting.";
    NOT_ONE_OF = "C005", "The value is not one of the few words the setting knows.";
    OUT_OF_RANGE = "C006", "The number, duration or size lies outside the allowed range.";
    WRONG_LENGTH = "C007", "The text or the list is too short or too long.";
    WRONG_FORMAT = "C008", "The text is not written as the setting asks: a duration, a size, an address, a pattern.";
    NUMBER = "C010", "The number is not finite, or too large to be kept exactly.";
    OVERRIDE = "C011", "An environment variable or --set cannot be placed in the configuration.";
    YES_OR_NO = "C012", "An environment variable that switches a broadcaster is neither yes nor no.";
    PLUGIN_REFUSES = "C013", "The plugin itself refuses a value of its settings.";
    UNUSABLE_PLUGIN = "C014", "The plugin's file is not there, or is not a plugin that this daemon can use.";
    UNUSABLE_SCHEMA = "C015", "A schema file is not there, is no JSON Schema, or asks for what would not be checked.";
    NAME = "C020", "A stream or broadcaster has a name outside the grammar of names.";
    RESERVED_NAME = "C021", "The name belongs to the daemon itself.";
    NAME_TAKEN = "C022", "A broadcaster and a declared stream have the same name; a stream has one source.";
    UNKNOWN_STREAM = "C023", "A broadcaster listens to a stream that nobody declares.";
    CIRCLE = "C024", "Broadcasters listen to each other in a circle.";
    PRIVATE_STREAM = "C025", "Listening to a private stream needs `allow_private = true`.";
    SAME_PATH = "C026", "Two endpoints claim the same path on the same listener.";
    UNKNOWN_LISTENER = "C027", "An endpoint names an address that `server.listen` does not have.";
    SAME_ADDRESS = "C029", "The same address is listened on twice.";
    UNREADABLE = "C030", "A file of the configuration is missing, not a file, or cannot be read.";
    NOT_UTF8 = "C031", "A file of the configuration is not UTF-8 text.";
    TOO_LARGE = "C032", "The configuration is larger than one can sensibly be, or has too many files.";
    EXPOSED = "C033", "The admin listener is open to other machines without a token.";
    UNUSABLE_ADDRESS = "C034", "An address cannot be listened on: it is taken, not this machine's, or not allowed.";
    NO_KEYS = "C035", "An identity is asked for, but nothing is configured that could prove one.";
    SAME_TOKEN = "C036", "Two programs have the same token.";
    UNUSABLE_KEYS = "C037", "A key, a token or a secret that the configuration names cannot be read or used.";
    SHADOWED_STREAM = "C038", "An endpoint's alias has the name of a stream, which could not be reached any more.";
    UNUSABLE_FILE = "C039", "A file that the daemon writes to cannot be opened.";
    IGNORED = "C040", "Something that looks like configuration has no effect.";
    UNFIT = "C041", "A setting of an endpoint does not fit the dialect that is spoken there.";
    OPEN_TO_PAGES = "C042", "A cookie bears the token while every web page is let in: any of them could act as the user.";
    ODD = "C043", "A plugin takes its settings and finds something odd in them.";
    UNCLEAR_ALIAS = "C044", "Two endpoints of the same listener have one alias for different streams.";
    EMPTIED = "C045", "A file was saved without any setting while the daemon runs with what it said.";
    UNCHECKED = "C046", "A secret comes from the service manager, and this process was not started by it.";
    OPEN = "C047", "Other machines may listen without encryption and without saying who they are.";
    SILENT = "C048", "A file has no setting, which a daemon that runs with some of it would not take by itself.";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn codes_are_unique_sorted_and_explained() {
        assert!(ALL.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (code, meaning) in ALL {
            assert!(code.len() == 4 && code.starts_with('C'), "{code}");
            assert!(meaning.ends_with('.'), "{code}: {meaning}");
        }
    }
}
