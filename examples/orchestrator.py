"""A base conversation reads some files; three forks of it answer at once; an orchestrator hears their answers.

Run it with `python examples/orchestrator.py FILE...`; a daemon is started if there is none. Start your own from here.
"""

import asyncio
import sys

import samovar
from samovar.prompt import prompt_of

QUESTIONS = {
    "w1": "What is a fork, and what does it cost?",
    "w2": "What happens after kill -9?",
    "w3": "Who may connect to the daemon?",
}


async def work(client: samovar.AsyncClient, name: str, question: str) -> str:
    """One worker: a fork of the base, asked one question."""
    await client.fork("base", name)
    reply = await client.ask(name, question)
    print(f"{name}: {question}\n    {reply.text}\n")
    return name


async def main(files: list[str]) -> None:
    """The whole of it."""
    async with samovar.AsyncClient() as client:
        names = {session.name for session in await client.list()} & {"base", "chief", *QUESTIONS}
        if names:
            await client.kill(sorted(names))  # left over from the last run

        await client.spawn("base", model="reader")
        await client.ask("base", prompt_of("Read this, and keep it in mind.", files))

        workers = await asyncio.gather(*(work(client, name, question) for name, question in QUESTIONS.items()))

        await client.spawn("chief", model="reader", system="You gather what the workers found.")
        for name in workers:
            await client.relay(name, "chief", note=f"Keep in mind what {name} found.")
        print("chief:", (await client.ask("chief", "What does a fork cost?")).text)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["README.md"]))
