"""A real SMTP server on loopback for the tests: writes its port, then each mail as one line of JSON.

usage: smtp_server.py [auth] [tls CERTIFICATE KEY | starttls CERTIFICATE KEY]
"""
import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


def say(what):
    print(json.dumps(what), flush=True)


# of those that are taken at the second try
REFUSED_ONCE = set()


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused"):
            return f"550 5.1.1 <{address}> unknown"
        if address.startswith("later"):
            return f"451 4.7.1 <{address}> greylisted"
        if address.startswith("once") and address not in REFUSED_ONCE:
            REFUSED_ONCE.add(address)
            return f"451 4.7.1 <{address}> greylisted"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        text = envelope.content.decode("utf-8", "replace")
        tls = server.transport.get_extra_info("ssl_object") is not None
        say({"from": envelope.mail_from, "to": envelope.rcpt_tos, "text": text, "tls": tls})
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    good = (data.login, data.password) == (b"mlinzi", b"hunter2")
    return AuthResult(success=good, handled=False)


async def main(args):
    settings, implicit = {}, None
    if "auth" in args:
        settings.update(auth_required=True, auth_require_tls=False, authenticator=authenticate)
    for kind in ("tls", "starttls"):
        if kind in args:
            certificate, key = args[args.index(kind) + 1 :]
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate, key)
            if kind == "tls":
                implicit = context
            else:
                settings.update(tls_context=context, require_starttls=True)
    loop = asyncio.get_running_loop()

    def connection():
        return SMTP(Handler(), hostname="smtp.test", loop=loop, **settings)

    server = await loop.create_server(connection, "127.0.0.1", 0, ssl=implicit)
    say(server.sockets[0].getsockname()[1])
    # goes with the test that started it
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main(sys.argv[1:]))
