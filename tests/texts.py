"""Sentences and unusual texts that a tokenizer must preserve."""

SENTENCES = [
    "Ein kleiner Junge spielt am 3. Oktober 1990 im Garten.",
    "Zwei Männer in weißen Hemden stehen vor dem Haus und lachen.",
    "Die Frau liest im Garten ein Buch über die Geschichte der Stadt.",
    "Im Jahr 2024 spielten 41 Kinder vor dem alten Haus Fußball.",
]

ODD_TEXTS = [
    "",
    " ",
    "   ",
    " leading and trailing ",
    "two  spaces",
    "tab\tand\nline\r\nbreaks\x0b\x0c\x85\u2028\n",
    "\x01\x1b[0m\x7f",
    "NUL\0inside",
    "\0",
    "👨‍👩‍👧‍👦🏳️‍🌈🇩🇪 emoji",
    "שלום עולם \u202eمرحبا\u202c",
    "日本語の文。",
    "e\u0301 and é, ﬁ and fi, Å and Å",
    "no-break\u00a0space, ideographic\u3000space, zero\u200bwidth, \ufeffBOM",
    "\U0010ffff\ufffd\ufffe\ue000\u2585\u2047",
    "<s> </s> <pad> <unk> <0x41> ⁇",
    "x" * 5000,
    "".join(map(chr, range(1, 0x300))),
]
