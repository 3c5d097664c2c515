"""A mail server that prints each letter as a line of JSON: PORT WAY CERTIFICATE KEY."""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

port, way, certificate, key = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)
seen = set()


class Mailbox:
    async def handle_DATA(self, server, session, envelope):
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        if way == "deferring" and letter["Message-ID"] not in seen:
            seen.add(letter["Message-ID"])
            return "451 come again"
        told = {
            "encrypted": session.ssl is not None or way == "tls",
            "user": session.auth_data.login.decode(),
            "connection": session.peer[1],
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "sender": str(letter["From"]).replace('"', ""),
            "subject": letter["Subject"],
            "id": letter["Message-ID"],
            "body": letter.get_content(),
        }
        print(json.dumps(told), flush=True)
        return "250 taken"


def is_let_in(server, session, envelope, mechanism, said):
    is_right = (said.login, said.password) == (b"line-7", b"hush")
    return AuthResult(success=is_right, handled=False, auth_data=said)


def begin():
    by_command = {} if way == "tls" else {"tls_context": context, "require_starttls": True}
    return SMTP(
        Mailbox(), authenticator=is_let_in, auth_required=True, auth_require_tls=way != "tls", **by_command
    )


async def serve():
    encrypted = context if way == "tls" else None
    await asyncio.get_running_loop().create_server(begin, "127.0.0.1", int(port), ssl=encrypted)
    print("listening", flush=True)
    await asyncio.Event().wait()


asyncio.run(serve())
