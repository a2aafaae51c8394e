"""Chat templates of the structures in public use, written anew as small ones, and what is learned under each."""

from dataclasses import dataclass

LOOP, END = "{% for m in messages %}", "{% endfor %}"
ASK = "{% if add_generation_prompt %}"
IM = "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}"
THINK_FREE = "{% set c = m.content.split('</think>')[-1].lstrip('\\n') if '</think>' in m.content else m.content %}"


@dataclass(frozen=True)
class Case:
    """first, second: what is learned of the answers "One." and "Two." prompt: what stands after a user's "hi"."""

    name: str
    source: str
    first: str
    second: str
    prompt: str


CASES = [
    Case("chatml", LOOP + IM + END + ASK + "{{ '<|im_start|>assistant\\n' }}{% endif %}",
         "One.<|im_end|>", "Two.<|im_end|>", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"),
    Case("chatml without a generation prompt", LOOP + IM + END,
         "One.<|im_end|>", "Two.<|im_end|>", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"),
    Case("chatml that ends turns without a line", LOOP + IM.replace(" + '\\n' }}", " }}") + END
         + ASK + "<|im_start|>assistant\n{% endif %}",
         "One.<|im_end|>", "Two.<|im_end|>", "<|im_start|>user\nhi<|im_end|><|im_start|>assistant\n"),
    Case("chatml with a default system text",
         "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
         + LOOP + IM + END + ASK + "{{ '<|im_start|>assistant\\n' }}{% endif %}",
         "One.<|im_end|>", "Two.<|im_end|>",
         "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"),
    Case("the prompt opens a thought", LOOP + IM + END + ASK + "{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif %}",
         "One.<|im_end|>", "Two.<|im_end|>", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n"),
    Case("an empty thought in the last turn",
         LOOP + "{% if m.role == 'assistant' and loop.last %}"
         "{{ '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' + m.content + '<|im_end|>\\n' }}"
         "{% else %}" + IM + "{% endif %}" + END + ASK + "{{ '<|im_start|>assistant\\n' }}{% endif %}",
         "One.<|im_end|>", "<think>\n\n</think>\n\nTwo.<|im_end|>",
         "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"),
    Case("a closed thought in every turn",
         LOOP + "{% if m.role == 'assistant' %}"
         "{{ '<|im_start|>assistant\\n<think></think>' + m.content + '<|im_end|>' }}"
         "{% else %}" + IM + "{% endif %}" + END + ASK + "{{ '<|im_start|>assistant\\n<think>' }}{% endif %}",
         "</think>One.<|im_end|>", "</think>Two.<|im_end|>",
         "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>"),
    Case("instructions in brackets",
         "{{ bos_token }}" + LOOP + "{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
         "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}{% endif %}" + END,
         " One.</s>", " Two.</s>", "<s>[INST] hi [/INST]"),
    Case("instructions in brackets, a beginning each turn",
         LOOP + "{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content.strip() + ' [/INST]' }}"
         "{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}" + END,
         " One. </s>", " Two. </s>", "<s>[INST] hi [/INST]"),
    Case("roles must alternate",
         "{{ bos_token }}" + LOOP + "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
         "{{ raise_exception('roles must alternate') }}{% endif %}"
         "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + m.content | trim"
         " + '<end_of_turn>\\n' }}" + END + ASK + "{{ '<start_of_turn>model\\n' }}{% endif %}",
         "One.<end_of_turn>", "Two.<end_of_turn>", "<s><start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\n"),
    Case("headers and trimmed content",
         "{% set all = messages %}{% for m in all %}{% set text = '<|start|>' + m.role + '<|header|>\\n\\n'"
         " + m.content | trim + '<|eot|>' %}{% if loop.index0 == 0 %}{% set text = bos_token + text %}{% endif %}"
         "{{ text }}" + END + ASK + "{{ '<|start|>assistant<|header|>\\n\\n' }}{% endif %}",
         "One.<|eot|>", "Two.<|eot|>", "<s><|start|>user<|header|>\n\nhi<|eot|><|start|>assistant<|header|>\n\n"),
    Case("a channel before the content, another end at last",
         LOOP + "{% if m.role == 'assistant' %}{{ '<|start|>assistant<|channel|>final<|message|>' + m.content }}"
         "{% if loop.last %}<|return|>{% else %}<|end|>{% endif %}"
         "{% else %}{{ '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{% endif %}" + END
         + ASK + "<|start|>assistant{% endif %}",
         "<|channel|>final<|message|>One.<|end|>", "<|channel|>final<|message|>Two.<|return|>",
         "<|start|>user<|message|>hi<|end|><|start|>assistant"),
    Case("capital names and no special tokens but the end",
         "{{ 'A talk. ' }}" + LOOP + "{% if m.role == 'user' %}{{ 'USER: ' + m.content + ' ' }}"
         "{% else %}{{ 'ASSISTANT: ' + m.content + eos_token }}{% endif %}" + END
         + ASK + "{{ 'ASSISTANT:' }}{% endif %}",
         " One.</s>", " Two.</s>", "A talk. USER: hi ASSISTANT:"),
    Case("capital names without a generation prompt",
         LOOP + "{% if m.role == 'user' %}{{ 'USER: ' + m.content + '\\n' }}"
         "{% else %}{{ 'ASSISTANT: ' + m.content + eos_token + '\\n' }}{% endif %}" + END,
         " One.</s>", " Two.</s>", "USER: hi\nASSISTANT:"),
    Case("the prompt stands within the loop",
         LOOP + "{% if m.role == 'user' %}\n{{ '<|user|>\\n' + m.content + eos_token }}\n"
         "{% elif m.role == 'assistant' %}\n"
         "{{ '<|assistant|>\\n'  + m.content + eos_token }}\n{% endif %}\n"
         "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n" + END,
         "One.</s>", "Two.</s>", "<|user|>\nhi</s>\n<|assistant|>\n"),
    Case("numbers instead of a loop over messages",
         "{% for i in range(messages | length) %}{% set m = messages[i] %}" + IM + END
         + ASK + "{{ '<|im_start|>assistant\\n' }}{% endif %}",
         "One.<|im_end|>", "Two.<|im_end|>", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"),
    Case("the text is collected first",
         "{% set ns = namespace(text='') %}" + LOOP
         + "{% set ns.text = ns.text + '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' %}" + END
         + "{{ ns.text }}" + ASK + "{{ '<|im_start|>assistant\\n' }}{% endif %}",
         "One.<|im_end|>", "Two.<|im_end|>", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"),
    Case("a macro writes the turns",
         "{% macro turn(m) %}" + IM.replace("m['", "m['") + "{% endmacro %}" + LOOP + "{{ turn(m) }}" + END
         + ASK + "{{ '<|im_start|>assistant\\n' }}{% endif %}",
         "One.<|im_end|>", "Two.<|im_end|>", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"),
    Case("a first loop backwards, as for the last question",
         "{% set ns = namespace(last=0) %}{% for m in messages[::-1] %}{% if m.role == 'user' and not ns.last %}"
         "{% set ns.last = messages | length - loop.index0 %}{% endif %}{% endfor %}" + LOOP + IM + END
         + ASK + "{{ '<|im_start|>assistant\\n' }}{% endif %}",
         "One.<|im_end|>", "Two.<|im_end|>", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"),
    Case("a loop over all messages within each turn",
         LOOP + "{{ '<|im_start|>' + m.role + '\\n' + m.content }}{% set ns = namespace(n=0) %}"
         "{% for other in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ '<|im_end|>\\n' }}" + END
         + ASK + "{{ '<|im_start|>assistant\\n' }}{% endif %}",
         "One.<|im_end|>", "Two.<|im_end|>", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"),
    Case("the assistant's header always at the end",
         LOOP + IM + END + "<|im_start|>assistant\n",
         "One.<|im_end|>", "Two.<|im_end|>", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"),
    Case("the generation tag",
         LOOP + "{% if m.role == 'assistant' %}{{ '<|im_start|>assistant\\n' }}{% generation %}"
         "{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}{% else %}" + IM + "{% endif %}" + END
         + ASK + "{{ '<|im_start|>assistant\\n' }}{% endif %}",
         "One.<|im_end|>", "Two.<|im_end|>", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"),
    Case("the generation tag around the content alone",
         LOOP + "{% if m.role == 'assistant' %}{{ '<|im_start|>assistant\\n' }}{% generation %}{{ m.content }}"
         "{% endgeneration %}{{ '<|im_end|>\\n' }}{% else %}" + IM + "{% endif %}" + END
         + ASK + "{{ '<|im_start|>assistant\\n' }}{% endif %}",
         "One.", "Two.", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"),
    Case("thoughts of earlier turns are taken out",
         LOOP + "{% if m.role == 'assistant' and not loop.last %}" + THINK_FREE
         + "{{ '<|im_start|>assistant\\n' + c + '<|im_end|>\\n' }}{% else %}" + IM + "{% endif %}" + END
         + ASK + "{{ '<|im_start|>assistant\\n' }}{% endif %}",
         "One.<|im_end|>", "Two.<|im_end|>", "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"),
]  # fmt: skip

SPECIALS = ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<|start|>", "<|header|>",
            "<|eot|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|pad|>")  # fmt: skip
CONTROLS = ("<think>", "</think>")
