"""Starts `aludel serve` and has each client library use it as its documentation says. A check is a function that raises."""

import argparse
import importlib.metadata
import math
import pathlib
import subprocess
import sys
import traceback

import anthropic
import langchain_openai
import ollama
import openai

ROOT = pathlib.Path(__file__).resolve().parents[2]
HELLO = [{"role": "user", "content": "Name three colours."}]
TOKENS = 24


def clients(url):
    """Each client, as a user makes one."""
    return {
        "openai": openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0),
        "anthropic": anthropic.Anthropic(base_url=url, api_key="unused", max_retries=0),
        "ollama": ollama.Client(host=url),
        "langchain": langchain_openai.ChatOpenAI(
            base_url=f"{url}/v1", api_key="unused", model="", temperature=0, max_tokens=TOKENS, max_retries=0
        ),
    }


def chat(client, model, **more):
    return client.chat.completions.create(model=model, messages=HELLO, temperature=0, max_tokens=TOKENS, **more)


def openai_models(client, model):
    assert model in [known.id for known in client.models.list()]
    assert client.models.retrieve(model).id == model


def openai_chat(client, model):
    answer = chat(client, model)
    assert answer.choices[0].message.content and answer.usage.completion_tokens <= TOKENS, answer
    assert answer.choices[0].finish_reason in ("stop", "length"), answer


def openai_stream(client, model):
    chunks = list(chat(client, model, stream=True, stream_options={"include_usage": True}))
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    whole = chat(client, model)
    assert text == whole.choices[0].message.content, (text, whole)
    assert chunks[-1].usage == whole.usage, chunks[-1]


def openai_logprobs(client, model):
    tokens = chat(client, model, logprobs=True, top_logprobs=5).choices[0].logprobs.content
    assert tokens and all(len(token.top_logprobs) == 5 for token in tokens)
    for token in tokens:
        assert math.isclose(token.logprob, token.top_logprobs[0].logprob, abs_tol=1e-4), token
        assert sum(math.exp(top.logprob) for top in token.top_logprobs) <= 1.0001, token


def openai_samples_and_stops(client, model):
    ask = {"model": model, "messages": HELLO, "max_tokens": TOKENS, "temperature": 1, "n": 3, "seed": 5}
    first, again = (client.chat.completions.create(**ask) for _ in range(2))
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in again.choices], "a seed asks for the same draws"
    assert len(set(texts)) > 1, texts
    whole = chat(client, model).choices[0].message.content
    stop = whole.split()[1]
    assert chat(client, model, stop=stop).choices[0].message.content == whole.split(stop)[0]


def openai_completions(client, model):
    answer = client.completions.create(model=model, prompt="The colours are red,", max_tokens=5, temperature=0, logprobs=2)
    assert answer.choices[0].text and len(answer.choices[0].logprobs.tokens) == answer.usage.completion_tokens, answer


def openai_responses(client, model):
    ask = {"model": model, "input": HELLO[0]["content"], "temperature": 0}
    cut = client.responses.create(max_output_tokens=TOKENS, **ask)
    assert cut.output_text == chat(client, model).choices[0].message.content, cut
    assert cut.status == "completed" or cut.incomplete_details.reason == "max_output_tokens", cut
    whole = client.responses.create(**ask)
    with client.responses.stream(**ask) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert text == whole.output_text, text
        assert stream.get_final_response().output_text == whole.output_text


def openai_errors(client, model):
    try:
        chat(client, "no-such-model")
        raise AssertionError("an unknown model was answered")
    except openai.NotFoundError as error:
        assert error.code == "model_not_found" and error.param == "model", error
    try:
        chat(client, model, response_format={"type": "json_object"})
        raise AssertionError("a format was not refused")
    except openai.BadRequestError as error:
        assert error.param == "response_format", error


def anthropic_messages(client, model):
    ask = {"model": model, "messages": HELLO, "max_tokens": TOKENS, "system": "Be brief."}
    ask["extra_body"] = {"temperature": 0}
    whole = client.messages.create(**ask)
    assert whole.content[-1].text and whole.stop_reason in ("end_turn", "max_tokens"), whole
    with client.messages.stream(**ask) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[-1].text == final.content[-1].text, (text, final)
    assert final.usage.output_tokens == whole.usage.output_tokens, final
    count = client.messages.count_tokens(model=model, messages=HELLO, system="Be brief.")
    assert count.input_tokens == whole.usage.input_tokens, count


def anthropic_errors(client, model):
    try:
        client.messages.create(model=model, messages=HELLO, max_tokens=0)
        raise AssertionError("no tokens were not refused")
    except anthropic.BadRequestError as error:
        assert "max_tokens" in str(error), error


def ollama_chat(client, model):
    options = {"temperature": 0, "num_predict": TOKENS}
    whole = client.chat(model=model, messages=HELLO, options=options)
    parts = list(client.chat(model=model, messages=HELLO, options=options, stream=True))
    assert whole.message.content == "".join(part.message.content for part in parts), (whole, parts)
    assert whole.done and parts[-1].done and parts[-1].eval_count == whole.eval_count <= TOKENS, whole
    answer = client.generate(model=model, prompt=HELLO[0]["content"], options=options)
    assert answer.response == whole.message.content, answer


def ollama_models(client, model):
    assert model in [known.model for known in client.list().models]
    assert "completion" in client.show(model).capabilities


def langchain_invoke_and_stream(client, model):
    client.model_name = model
    whole = client.invoke("Name three colours.").content
    assert whole and whole == "".join(part.content for part in client.stream("Name three colours.")), whole


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a GGUF file or a folder")
    parser.add_argument("--aludel", default=ROOT / "target/release/aludel")
    parser.add_argument("--only", choices=["openai", "anthropic", "ollama", "langchain"])
    args = parser.parse_args()
    command = [args.aludel, "serve", "--model", args.model, "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    failed = 0
    try:
        said = server.stdout.readline()
        if " at " not in said:
            sys.exit(f"the server did not start: {said}")
        url = said.rsplit(" at ", 1)[1].strip()
        model = openai.OpenAI(base_url=f"{url}/v1", api_key="unused").models.list().data[0].id
        made = clients(url)
        checks = [(name, check) for name, check in list(globals().items()) if name.split("_")[0] in made and "_" in name]
        for name, check in checks:
            library = name.split("_")[0]
            if not callable(check) or args.only not in (None, library):
                continue
            package = "langchain-openai" if library == "langchain" else library
            told = f"{package} {importlib.metadata.version(package)}: {name.split('_', 1)[1].replace('_', ' ')}"
            try:
                check(made[library], model)
                print(f"ok      {told}")
            except Exception:
                failed += 1
                print(f"FAILED  {told}\n{traceback.format_exc()}")
    finally:
        server.terminate()
        ended = server.wait()
    print(f"the server ended with {ended}")
    sys.exit(1 if failed or ended else 0)


main()
