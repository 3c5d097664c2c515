//! One event of the border → one call of the trait.
use crate::abi::{self, BadText, Event};
use crate::broadcaster::Broadcaster;
use crate::context::{Context, Scratch};
use crate::entry::Host;
use crate::failure::{Failure, FailureKind};
use crate::input::{Answer, Command, Demand, Gap, Message, RequestId, TimerId};
use crate::time::duration;

/// Kinds that this version does not know are ignored (rule R8).
pub(super) fn event<B: Broadcaster>(
    broadcaster: &mut B,
    event: &Event<'_>,
    host: Host,
    scratch: &mut Scratch,
) -> Result<(), Failure> {
    let mut cx = Context::new(host, scratch);
    match event.kind {
        abi::EVENT_TIMER => broadcaster.on_timer(TimerId(event.id), &mut cx),
        abi::EVENT_DEMAND => broadcaster.on_demand(&demand(event).map_err(bad_text)?, &mut cx),
        abi::EVENT_MESSAGE => {
            let message = message(event).map_err(bad_text)?;
            broadcaster.on_message(&message, &mut cx.caused_by(&message))
        }
        abi::EVENT_GAP => {
            let stream = event.stream.get().map_err(bad_text)?;
            broadcaster.on_gap(&Gap { stream, from: event.id, to: event.seq }, &mut cx)
        }
        abi::EVENT_RECORDS => broadcaster.records(&mut cx.for_records()),
        abi::EVENT_COMMAND => on_command(broadcaster, &command(event).map_err(bad_text)?, (host, cx)),
        abi::EVENT_WAKE => broadcaster.on_wake(&mut cx),
        abi::EVENT_WRITABLE => broadcaster.on_writable(&mut cx),
        abi::EVENT_QUIESCE => broadcaster.quiesce(&mut cx),
        abi::EVENT_STOP => broadcaster.stop(&mut cx),
        _ => Ok(()),
    }
}

/// A refused command is answered; it does not end the broadcaster.
fn on_command<B: Broadcaster>(
    broadcaster: &mut B,
    command: &Command<'_>,
    (host, mut cx): (Host, Context<'_>),
) -> Result<(), Failure> {
    let request = command.request;
    let replied = match broadcaster.on_command(command, &mut cx) {
        Ok(Answer::Later) => Ok(()),
        Ok(Answer::Now(value)) => cx.reply(request, Ok(&value)),
        Err(failure) => Failure::check_reply(host.refuse(request.0, &failure)),
    };
    if let Err(failure) = replied {
        tracing::warn!(command = command.name, %failure, "not answered");
    }
    Ok(())
}

fn demand<'a>(event: &Event<'a>) -> Result<Demand<'a>, BadText> {
    Ok(Demand { topic: event.topic.get()?, subscriptions: u64::try_from(event.value).unwrap_or(0) })
}

fn message<'a>(event: &Event<'a>) -> Result<Message<'a>, BadText> {
    Ok(Message {
        stream: event.stream.get()?,
        topic: event.topic.get()?,
        kind: event.r#type.get()?,
        key: event.key.get()?,
        audience: event.audience.get()?,
        session_id: event.session_id.get()?,
        payload: event.payload.get()?,
        seq: event.seq,
        epoch: event.epoch.get()?,
        unix_ns: event.unix_ns,
    })
}

fn command<'a>(event: &Event<'a>) -> Result<Command<'a>, BadText> {
    Ok(Command {
        request: RequestId(event.id),
        name: event.r#type.get()?,
        payload: event.payload.get()?,
        principal: event.principal.get()?,
        deadline: duration(event.mono_ns.saturating_add(event.value)),
    })
}

fn bad_text(why: BadText) -> Failure {
    Failure::of(FailureKind::Invalid, format!("a text of an event {why}"))
}
