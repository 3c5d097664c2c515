//! Checks of saved state: it says the same again after it was restored, and what is no state does no harm.

use serde_json::Value;

use super::checks::{Checked, Flaw, Plugin, Subject, failed, is_panic};
use super::forms::Forms;
use super::life::live;
use crate::plugin::alone::Alone;
use crate::plugin::timing::Clock as _;
use crate::plugin::told::Told;

/// It saves what it says that it keeps, when it is about to be replaced.
pub fn save(subject: &Subject) -> Checked {
    let plugin = subject.plugin()?;
    let (saved, _) = saved(subject, &plugin)?;
    Ok(format!("{} bytes of version {}", saved.len(), plugin.library.facts.state_version))
}

/// What is saved, restored and saved again is the same.
pub fn same_again(subject: &Subject) -> Checked {
    let plugin = subject.plugin()?;
    let (saved, at) = saved(subject, &plugin)?;
    let (mut alone, clock) = subject.alone(&plugin);
    let version = plugin.library.facts.state_version;
    clock.advance_to(at); // time does not go back for what was saved, nor on
    let again = alone
        .create(&plugin.settings.to_string())
        .and_then(|()| alone.restore(version, &saved))
        .and_then(|()| alone.begin())
        .and_then(|()| alone.stop());
    let again = again.map_err(|fault| failed(alone.last_call(), &fault))?.unwrap_or_default();
    match difference(&saved, &again) {
        None => Ok("saved, restored and saved again, it is the same".to_owned()),
        Some(difference) => Err(Flaw::Wrong(format!("saved, restored and saved again, {difference}"))),
    }
}

/// What snapshots show of it is as declared: at the end of a life, and told anew from what it saved then.
pub fn records(subject: &Subject) -> Checked {
    let plugin = subject.plugin()?;
    let Some(spec) = &plugin.spec else {
        return Err(Flaw::NotApplicable("it declares no stream: it only listens".to_owned()));
    };
    let forms = Forms::new(spec, "record", |kind| kind.record.as_ref().unwrap_or(&kind.schema))?;
    let (mut alone, clock) = subject.alone(&plugin);
    live(subject, &plugin, &mut alone, &clock)?;
    let seen = fit(&forms, &alone)?;
    if seen.is_empty() {
        return Err(Flaw::NotApplicable(
            "it leaves no record; give it --inputs, or --settings with which it does".into(),
        ));
    }
    let saved = alone.tell(&[Told::Quiesce]).and_then(|()| alone.save());
    let again = saved.and_then(|saved| {
        alone.create(&plugin.settings.to_string())?;
        saved.map_or(Ok(()), |saved| alone.restore(plugin.library.facts.state_version, &saved))?;
        alone.begin()
    });
    again.map_err(|fault| failed(alone.last_call(), &fault))?;
    fit(&forms, &alone)?;
    Ok(format!("all fit, also told anew: {seen}"))
}

fn fit(forms: &Forms<'_>, alone: &Alone) -> Result<String, Flaw> {
    let records = alone.records();
    forms.fit(records.iter().map(|record| (&*record.kind, &record.json)))
}

/// State that is none is refused, or taken without harm.
pub fn wrong(subject: &Subject) -> Checked {
    let plugin = subject.plugin()?;
    let (saved, _) = saved(subject, &plugin)?;
    let version = plugin.library.facts.state_version;
    let states: [(&str, u32, &[u8]); 9] = [
        ("nothing", version, b""),
        ("bytes that are no text", version, b"\x00\xff\xfe\x80\x00"),
        ("{}", version, b"{}"),
        ("[]", version, b"[]"),
        ("null", version, b"null"),
        ("a number that is too large", version, b"99999999999999999999999999999999"),
        ("the first half of its own", version, &saved[..saved.len() / 2]),
        ("its own of a later version", version + 1, &saved),
        ("its own of version 0", 0, &saved),
    ];
    let mut refused = 0;
    for (what, version, state) in states {
        subject.report.under(&format!("with {what} for a state"));
        let (mut alone, _) = subject.alone(&plugin);
        let created = alone.create(&plugin.settings.to_string());
        let restored = created.and_then(|()| alone.restore(version, state));
        refused += usize::from(restored.is_err());
        let lived = restored.and_then(|()| alone.begin()).and_then(|()| alone.stop().map(drop));
        if let Err(fault) = &lived
            && is_panic(fault)
        {
            return Err(failed(&format!("with {what} for a state, {}", alone.last_call()), fault));
        }
    }
    Ok(format!("of {} that are none it refuses {refused}, and nothing panics", states.len()))
}

/// What it saves at the end of a life, and when that is.
fn saved(subject: &Subject, plugin: &Plugin) -> Result<(Vec<u8>, i64), Flaw> {
    if plugin.library.facts.state_version == 0 {
        return Err(Flaw::NotApplicable("it keeps no state".to_owned()));
    }
    let (mut alone, clock) = subject.alone(plugin);
    live(subject, plugin, &mut alone, &clock)?;
    let quiet = alone.tell(&[Told::Quiesce]);
    let saved = quiet.and_then(|()| alone.save()).map_err(|fault| failed(alone.last_call(), &fault))?;
    let saved = saved.ok_or_else(|| Flaw::Wrong("it says that it keeps state, and saves none".to_owned()))?;
    Ok((saved, clock.mono_ns()))
}

/// Where two states differ: members of JSON may come in any order, and a number may have grown, for whoever numbers what
/// it tells may leave a gap where it does not know what was told.
fn difference(one: &[u8], other: &[u8]) -> Option<String> {
    if one == other {
        return None;
    }
    let json = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    match (json(one), json(other)) {
        (Some(one), Some(other)) => apart(&one, &other, String::new()),
        _ => {
            let at = one.iter().zip(other).take_while(|(one, other)| one == other).count();
            Some(format!("it differs at byte {at} ({} bytes, then {})", one.len(), other.len()))
        }
    }
}

fn apart(one: &Value, other: &Value, pointer: String) -> Option<String> {
    const MOST: usize = 60;
    let has_grown = one.as_f64().zip(other.as_f64()).is_some_and(|(one, other)| one < other);
    if one == other || has_grown {
        return None;
    }
    let below = |name: &str, one: Option<&Value>, other: Option<&Value>| {
        apart(one.unwrap_or(&Value::Null), other.unwrap_or(&Value::Null), format!("{pointer}/{name}"))
    };
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.keys().chain(other.keys()).find_map(|name| below(name, one.get(name), other.get(name)))
        }
        (Value::Array(one), Value::Array(other)) => (0..one.len().max(other.len()))
            .find_map(|index| below(&index.to_string(), one.get(index), other.get(index))),
        _ => {
            let shown = |value: &Value| {
                let text = value.to_string();
                text[..text.floor_char_boundary(MOST)].to_owned()
            };
            Some(format!("it differs at \"{pointer}\": {}, then {}", shown(one), shown(other)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_differ_where_they_do_and_not_by_the_order_of_members() {
        assert_eq!(difference(br#"{"a":1,"b":2}"#, br#"{"b":2,"a":1}"#), None);
        let told = |one: &str, other: &str| difference(one.as_bytes(), other.as_bytes()).unwrap();
        assert_eq!(told(r#"{"a":[1,2]}"#, r#"{"a":[1,1]}"#), "it differs at \"/a/1\": 2, then 1");
        assert_eq!(difference(br#"{"a":[1,2]}"#, br#"{"a":[1,1024]}"#), None, "it goes on behind a gap");
        assert_eq!(told(r#"{"a":1}"#, "{}"), "it differs at \"/a\": 1, then null");
        assert_eq!(told("[1]", "[1,2]"), "it differs at \"/1\": null, then 2");
        assert_eq!(told("abc", "abd!"), "it differs at byte 2 (3 bytes, then 4)");
        assert_eq!(told("1", "x"), "it differs at byte 0 (1 bytes, then 1)");
    }
}
