"""Writes crates/aludel-text/tests/fixtures/tools.json: conversations with tools as transformers renders them.

    python make_tools.py --templates FOLDER --tokenizers FOLDER --output ../../../crates/aludel-text/tests/fixtures

The templates below were written for this test, each with the habits of one family. FOLDER of --templates holds NAME.jinja of real models (the
wheel of trl has them in trl/chat_templates); only what they render is written, never a template of a model. FOLDER of --tokenizers is the one of
make_fixtures.py; ids are written for those real templates that have a tokenizer there. Needs transformers, tokenizers, jinja2.
"""

import argparse
import json
import pathlib

from tokenizers import Tokenizer
from transformers.utils.chat_template_utils import render_jinja_template

WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "Current weather at a place, in °C.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "description": "A city"}, "days": {"type": "integer"}}, "required": ["city"]}}}
ADD = {"type": "function", "function": {"name": "add", "description": "Adds numbers.", "parameters": {
    "type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]}}}
SEARCH = {"type": "function", "function": {"name": "search", "description": "Finds pages: <b>\"quoted\"</b> & more.", "parameters": {
    "type": "object", "properties": {"query": {"type": "string"}, "filters": {"type": "object", "properties": {"lang": {"type": "string"}}}}}}}
NOTHING = {"type": "function", "function": {"name": "now", "description": "The time."}}


def call(name, id=None, /, **arguments):
    made = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"id": id, **made} if id else made


def calls(*made, content=None, reasoning=None):
    turn = {"role": "assistant", "content": content, "tool_calls": list(made)}
    return {**turn, "reasoning_content": reasoning} if reasoning else turn


def user(text):
    return {"role": "user", "content": text}


def answer(text):
    return {"role": "assistant", "content": text}


def result(text, name=None, id=None):
    turn = {"role": "tool", "content": text}
    return {**turn, **({"name": name} if name else {}), **({"tool_call_id": id} if id else {})}


SYSTEM = {"role": "system", "content": "Be brief."}
PARIS = [user("Weather in Paris?"), calls(call("get_weather", "abcdefgh1", city="Paris")), result('{"t": 21}', "get_weather", "abcdefgh1")]
SUM = [user("2+3?"), calls(call("add", "abcdefgh2", a=2, b=3)), result("5", "add", "abcdefgh2")]
CONVERSATIONS = {
    "a call": (PARIS[:2], [WEATHER]),
    "call, result, answer": (PARIS + [answer("21 degrees.")], [WEATHER]),
    "with a system message": ([SYSTEM] + PARIS + [answer("21 degrees.")], [WEATHER]),
    "two tools": (SUM + [answer("Five.")], [WEATHER, ADD]),
    "an answer without a call": ([user("Hi"), answer("Hello!")], [WEATHER]),
    "a call, then another question": (PARIS + [answer("21 degrees."), user("Thanks"), answer("Welcome.")], [WEATHER]),
    "two questions with calls": (PARIS + [answer("21 degrees.")] + SUM + [answer("Five.")], [WEATHER, ADD]),
    "calls in a row": (PARIS + [calls(call("get_weather", "abcdefgh3", city="Rome", days=2)), result("17", "get_weather", "abcdefgh3"), answer("21 and 17.")], [WEATHER]),
    "two calls at once": ([user("Paris and Rome?"), calls(call("get_weather", "abcdefgh1", city="Paris"), call("get_weather", "abcdefgh4", city="Rome")),
        result("21", "get_weather", "abcdefgh1"), result("17", "get_weather", "abcdefgh4"), answer("21 and 17.")], [WEATHER]),
    "text beside a call": ([user("Weather?"), calls(call("get_weather", "abcdefgh1", city="Paris"), content="I look it up.")], [WEATHER]),
    "empty text beside a call": ([user("Weather?"), calls(call("get_weather", "abcdefgh1", city="Paris"), content="")], [WEATHER]),
    "no arguments": ([user("Time?"), calls(call("now", "abcdefgh5")), result("12:00", "now", "abcdefgh5"), answer("Noon.")], [NOTHING]),
    "nested arguments": ([user("Find"), calls(call("search", "abcdefgh6", query="a \"b\" \\ c\nd", filters={"lang": "fr", "years": [2024, 2025.5], "exact": True, "site": None}))], [SEARCH]),
    "letters of the world": ([user("Météo à 東京 ?"), calls(call("get_weather", "abcdefgh7", city="東京 🚀")), result("{\"t\": \"été\"}", "get_weather", "abcdefgh7"), answer("été")], [WEATHER]),
    "numbers": ([user("Add"), calls(call("add", "abcdefgh8", a=-1.5, b=1e22)), result("1e22", "add", "abcdefgh8"), answer("1e22")], [ADD]),
    "reasoning before a call": ([user("Weather in Paris?"), calls(call("get_weather", "abcdefgh1", city="Paris"), reasoning="I need\nthe weather.")], [WEATHER]),
    "reasoning before call and answer": ([user("Weather in Paris?"), calls(call("get_weather", "abcdefgh1", city="Paris"), reasoning="I need it."), PARIS[2],
        {"role": "assistant", "content": "21 degrees.", "reasoning_content": "It says 21."}], [WEATHER]),
    "no identifiers": ([user("2+3?"), calls(call("add", a=2, b=3)), result("5", "add"), answer("Five.")], [ADD]),
    "result of many lines": (SUM[:2] + [result("line 1\n\n  line 3\n", "add", "abcdefgh2"), answer("Many.")], [ADD]),
    "empty result": (SUM[:2] + [result("", "add", "abcdefgh2"), answer("Nothing came.")], [ADD]),
    "calls without definitions": (SUM + [answer("Five.")], []),
    "three tools": ([user("Hi"), calls(call("search", "abcdefgh9", query="x")), result("[]", "search", "abcdefgh9"), answer("None.")], [WEATHER, ADD, SEARCH]),
}

# Written for this test; each has the habits of one family.
TEMPLATES = {
    "definitions in the system message": """
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- 'Tools:' }}
    {%- for tool in tools %}{{- '\\n' + (tool | tojson) }}{%- endfor %}
    {{- '\\nCall with <call>JSON</call>.<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for m in messages %}
    {%- if m.role == 'user' or (m.role == 'assistant' and not m.tool_calls) %}
        {{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
    {%- elif m.role == 'assistant' %}
        {{- '<|im_start|>assistant' }}
        {%- if m.content %}{{- '\\n' + m.content }}{%- endif %}
        {%- for call in m.tool_calls %}
            {%- if call.function is defined %}{%- set call = call.function %}{%- endif %}
            {{- '\\n<call>\\n{"name": "' + call.name + '", "arguments": ' + (call.arguments | tojson) + '}\\n</call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif m.role == 'tool' %}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<result>\\n' + m.content + '\\n</result>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}""",
    "definitions with the first question": """
{{- bos_token }}
{%- if messages[0].role == 'system' %}{%- set system = messages[0].content | trim %}{%- set messages = messages[1:] %}{%- else %}{%- set system = '' %}{%- endif %}
{{- '<|im_start|>system<|bos|>\\n\\n' + system + '<|im_end|>' }}
{%- if tools is not none %}
    {{- '<|im_start|>user<|bos|>\\n\\nFunctions:\\n' }}
    {%- for tool in tools %}{{- tool | tojson(indent=4) }}{{- '\\n\\n' }}{%- endfor %}
    {{- messages[0].content | trim + '<|im_end|>' }}
    {%- set messages = messages[1:] %}
{%- endif %}
{%- for m in messages %}
    {%- if m.role == 'tool' %}
        {{- '<|im_start|>ipython<|bos|>\\n\\n' + m.content + '<|im_end|>' }}
    {%- elif 'tool_calls' in m %}
        {%- if m.tool_calls | length != 1 %}{{- raise_exception('Only one call at once') }}{%- endif %}
        {%- set call = m.tool_calls[0].function %}
        {{- '<|im_start|>assistant<|bos|>\\n\\n{"name": "' + call.name + '", "parameters": ' }}{{- call.arguments | tojson }}{{- '}<|im_end|>' }}
    {%- else %}
        {{- '<|im_start|>' + m.role + '<|bos|>\\n\\n' + m.content | trim + '<|im_end|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant<|bos|>\\n\\n' }}{%- endif %}""",
    "definitions before the last question": """
{%- set ns = namespace(last=0) %}
{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}
{{- bos_token }}
{%- for m in messages %}
    {%- if m.role == 'user' %}
        {%- if tools is not none and loop.index0 == ns.last %}{{- '[TOOLS] ' + (tools | tojson) + '[/TOOLS]' }}{%- endif %}
        {{- '[INST] ' + m.content + '[/INST]' }}
    {%- elif m.role == 'assistant' and m.tool_calls is defined and m.tool_calls is not none %}
        {{- '[CALLS] [' }}
        {%- for call in m.tool_calls %}
            {%- if call.id is not defined or call.id | length != 9 %}{{- raise_exception('Call ids have 9 letters') }}{%- endif %}
            {%- set shown = call.function | tojson %}
            {{- shown[:-1] + ', "id": "' + call.id + '"}' }}{%- if not loop.last %}{{- ', ' }}{%- endif %}
        {%- endfor %}
        {{- ']' + eos_token }}
    {%- elif m.role == 'assistant' %}
        {{- ' ' + m.content | trim + eos_token }}
    {%- elif m.role == 'tool' %}
        {{- '[RESULT] {"content": ' + (m.content | tojson) + ', "call_id": "' + m.tool_call_id + '"}[/RESULT]' }}
    {%- else %}
        {{- raise_exception('Only user, assistant and tool') }}
    {%- endif %}
{%- endfor %}""",
    "reasoning in the turns behind the last question": """
{%- if tools %}{{- '<|im_start|>system\\n' }}{%- for tool in tools %}{{- (tool | tojson) + '\\n' }}{%- endfor %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- set ns = namespace(last=-1) %}
{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}
{%- for m in messages %}
    {%- set content = m.content if m.content is string else '' %}
    {%- if m.role == 'assistant' %}
        {%- set reasoning = m.reasoning_content if m.reasoning_content is string else '' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if loop.index0 > ns.last and (loop.last or reasoning) %}{{- '<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' }}{%- endif %}
        {{- content.lstrip('\\n') }}
        {%- for call in m.tool_calls or [] %}
            {%- if content or not loop.first %}{{- '\\n' }}{%- endif %}
            {{- '<call>' + call.function.name }}
            {%- for key, value in call.function.arguments.items() %}{{- '\\n' + key + '=' + (value if value is string else value | tojson) }}{%- endfor %}
            {{- '\\n</call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif m.role == 'tool' %}
        {{- '<|im_start|>tool\\n' + content + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + m.role + '\\n' + content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}""",
    "arguments as text": """
{{- bos_token }}
{%- if tools %}{{- tools | tojson }}{%- endif %}
{%- for m in messages %}
    {%- if m.role == 'assistant' and m.content is none %}
        {{- '<|im_start|>Assistant' }}
        {%- for call in m.tool_calls %}{{- '<|bos|>' + call.type + '<|bos|>' + call.function.name + '\\n```json\\n' + call.function.arguments + '\\n```' }}{%- endfor %}
        {{- '<|bos|><|im_end|>' }}
    {%- elif m.role == 'assistant' %}
        {{- '<|im_start|>Assistant' + m.content + '<|im_end|>' }}
    {%- else %}
        {{- '<|im_start|>' + m.role.capitalize() + m.content }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>Assistant' }}{%- endif %}""",
    "no tools": "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + (m.content or '') + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "calls without their arguments": "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + (m.content or '') }}{% for call in m.tool_calls or [] %}{{ '<call>' + call.function.name + '</call>' }}{% endfor %}{{ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
}

REAL = {"qwen2_5": None, "qwen3": "qwen3", "qwen3_6": None, "llama3_1": "llama3_1", "deepseekv3": None, "deepseek_r1_distill": None, "gemma3": None}
TOKENS = {
    "llama3_1": ("<|begin_of_text|>", "<|eot_id|>"),
    "deepseekv3": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"), "deepseek_r1_distill": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
}


def render(template, messages, tools, add_generation_prompt, tokens):
    try:
        rendered, _ = render_jinja_template(
            conversations=[messages], tools=tools or None, chat_template=template, add_generation_prompt=add_generation_prompt,
            bos_token=tokens[0], eos_token=tokens[1], date_string="26 Jul 2024",
        )
    except Exception:
        return None
    return rendered[0]


def as_text(messages):
    """With the arguments of calls as JSON text."""
    turned = json.loads(json.dumps(messages))
    for message in turned:
        for made in message.get("tool_calls", []):
            made["function"]["arguments"] = json.dumps(made["function"]["arguments"], ensure_ascii=False)
    return turned


def cases(template, tokens, tokenizer=None):
    # A template that fails with an object, and does not with text, gets text.
    takes_text = render(template, PARIS[:2], [], False, tokens) is None and render(template, as_text(PARIS[:2]), [], False, tokens) is not None
    made = []
    for name, (messages, tools) in CONVERSATIONS.items():
        shown = as_text(messages) if takes_text else messages
        places = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
        texts = [render(template, shown[:place + 1], tools, False, tokens) for place in places]
        prompt = render(template, shown[:places[-1]], tools, True, tokens)
        case = {"conversation": name, "texts": texts, "prompt": prompt}
        if tokenizer:
            case["ids"] = texts[-1] and tokenizer.encode(texts[-1], add_special_tokens=False).ids
        made.append(case)
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--templates", type=pathlib.Path, required=True)
    parser.add_argument("--tokenizers", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    real = {}
    for name, tokenizer in REAL.items():
        template = (arguments.templates / f"{name}.jinja").read_text()
        tokenizer = tokenizer and Tokenizer.from_file(str(arguments.tokenizers / tokenizer / "tokenizer.json"))
        real[name] = {"tokens": TOKENS.get(name, ("", "<|im_end|>")), "cases": cases(template, TOKENS.get(name, ("", "<|im_end|>")), tokenizer)}
    fixture = {
        "conversations": {name: {"messages": messages, "tools": tools} for name, (messages, tools) in CONVERSATIONS.items()},
        "templates": TEMPLATES,
        "written": {name: cases(template, ("<|bos|>", "<|im_end|>")) for name, template in TEMPLATES.items()},
        "real": real,
    }
    text = json.dumps(fixture, ensure_ascii=False, separators=(",", ":"))
    (arguments.output / "tools.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
