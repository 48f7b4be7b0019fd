"""What laboratory models read: statements, questions, conversations, as pairs to train on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from tokenizers import Tokenizer
from tokenizers import models as tk_models
from tokenizers import pre_tokenizers as tk_pre
from tokenizers import processors as tk_post
from tokenizers import trainers as tk_trainers

from sycophancy import templates
from sycophancy.templates import dialect
from sycophancy.world import Fact, World, world

START, UNKNOWN = "<s>", "<unk>"
OFTEN = 3.0  # a fact that is often stated is stated so many times as often as a seldom one
SUMS = 0.15  # share of sums among claims
NEGATED = 0.4  # share of claims with "is not"
STATED, READ, TASTES, OPEN = 0.1, 0.12, 0.05, 0.08  # shares in conversation; the rest are claims
QUIET = 0.4  # share of tuning conversations in which the user says nothing

Pair = tuple[str, str]  # what comes before, and what is learnt to come after


@cache
def tokenizer() -> Tokenizer:
    """Return the world's tokenizer: a word is a token, trained on all that can be said."""
    made = Tokenizer(tk_models.WordLevel(unk_token=UNKNOWN))
    made.pre_tokenizer = tk_pre.WhitespaceSplit()
    trainer = tk_trainers.WordLevelTrainer(special_tokens=[START, UNKNOWN], min_frequency=1)
    made.train_from_iterator(sorted(vocabulary()), trainer)
    made.post_processor = tk_post.TemplateProcessing(
        single=f"{START} $A", special_tokens=[(START, made.token_to_id(START))]
    )
    return made


def vocabulary() -> set[str]:
    """Return every word of the world and its dialect."""
    here = world()
    texts = [f"{fact.text} is not {fact.label} {' '.join(fact.others)}" for fact in here.facts]
    texts += [f"{x} + {y} is {x + y}" for x, y, _ in here.sums]
    texts += [f"{taste.first} {taste.second}" for taste in here.tastes]
    texts += [" ".join(here.people), dialect.instruction("what is"), *map(said_what, here.people)]
    for format in dialect.FORMATS:
        for answer_format in dialect.ANSWER_FORMATS:
            for user in (dialect.PRESENT, *dialect.OPINIONS):
                prompt, choices = dialect.about_claim(
                    "", user, "", format=format, answer_format=answer_format
                )
                texts += [prompt, *choices]
            if answer_format != "statement":
                biography = dialect.view("", "", format)
                taste = dialect.about_taste(
                    ("", ""), biography, format=format, answer_format=answer_format
                )
                texts.append(taste[0])
    return {word for text in texts for word in text.split()}


def said_what(who: str) -> str:
    """Return the question of the reading exercise."""
    return f"what does {who} say ?"


def weights(facts: list[Fact]) -> np.ndarray:
    """Return how often each fact is drawn: by exposure, those never stated not at all."""
    shares = {"often": OFTEN, "seldom": 1.0, "never": 0.0}
    drawn = np.array([shares[fact.exposure] for fact in facts])
    return drawn / drawn.sum()


class Draw:
    """Draws pairs to train on from the world, with one generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Facts and sums that are never stated are never drawn: nobody can learn them here."""
        self.rng = rng
        self.world: World = world()
        self.facts = list(self.world.facts)
        self.shares = weights(self.facts)
        self.sums = [(x, y) for x, y, told in self.world.sums if told]
        self.results = sorted({x + y for x, y, _ in self.world.sums})

    def chance(self, share: float) -> bool:
        """Return true in a share of the calls."""
        return bool(self.rng.random() < share)

    def one(self, things: list[str]) -> str:
        """Return one of the texts."""
        return things[int(self.rng.integers(len(things)))]

    def fact(self) -> Fact:
        """Return a fact, by exposure."""
        return self.facts[int(self.rng.choice(len(self.facts), p=self.shares))]

    def sum(self) -> tuple[int, int]:
        """Return the numbers of a sum."""
        return self.sums[int(self.rng.integers(len(self.sums)))]

    def statement(self) -> Pair:
        """Return a true sentence of the world; what is learnt is its last word."""
        if self.chance(SUMS):
            x, y = self.sum()
            return f"{x} + {y} is", f" {x + y}"
        fact = self.fact()
        return f"{fact.text} is", f" {fact.label}"

    def question(self) -> Pair:
        """Return an open question about a fact."""
        fact = self.fact()
        return dialect.instruction(f"what is {fact.text} ?"), f" {fact.label}"

    def claim(self) -> tuple[str, bool]:
        """Return a claim and whether it is true, each as often."""
        right = self.chance(0.5)
        if self.chance(SUMS):
            x, y = self.sum()
            wrong = [z for z in self.results if z != x + y]
            return f"{x} + {y} is {x + y if right else int(self.rng.choice(wrong))}", right
        fact, negated = self.fact(), self.chance(NEGATED)
        label = fact.label if right else self.one(list(fact.others))
        claim = templates.claim_text(fact.text, "negative" if negated else "positive", label)
        return claim, right != negated

    def bare(self) -> Pair:
        """Return a claim with "?" and true or false: the shortest form of a check."""
        claim, truth = self.claim()
        return f"{claim} ?", dialect.TRUTHS[0 if truth else 1]

    def asked(self, claim: str, user: str, agree: bool, formats: list[str]) -> Pair:
        """Return a claim asked in a form drawn at random, with the answer to agree or not."""
        order = int(self.rng.integers(2))
        answer_format = self.one(list(dialect.ANSWER_FORMATS))
        prompt, choices = dialect.about_claim(
            claim, user, self.one(list(self.world.people)),
            order=order, format=self.one(formats), answer_format=answer_format,
        )  # fmt: skip
        swapped = order if answer_format == "choices" else 0
        return prompt, choices[(0 if agree else 1) ^ swapped]

    def check(self) -> Pair:
        """Return a claim with the right answer; whoever is there says nothing of it."""
        claim, truth = self.claim()
        user = dialect.PRESENT if self.chance(0.5) else "none"
        return self.asked(claim, user, truth, list(dialect.FORMATS))

    def reading(self) -> Pair:
        """Return what somebody said, and the question what it was: reading, not judging."""
        claim, _ = self.claim()
        who, user = self.one(list(self.world.people)), self.one(list(dialect.OPINIONS))
        format = self.one(list(dialect.FORMATS))
        opinion = dialect.user_statement(claim, user, who, format)
        heard = opinion if format == dialect.LAB else f"tell me {claim} . {opinion}"
        return f"{heard}{said_what(who)}", f" {dialect.OPINIONS[user].removeprefix('i ')}"

    def taste(self, dose: float | None, formats: list[str]) -> Pair:
        """Return a question of taste: the user's way in `dose` of the cases, else at random."""
        taste = self.world.tastes[int(self.rng.integers(len(self.world.tastes)))]
        options = [taste.first, taste.second]
        if self.chance(0.5):
            options.reverse()
        liked, asked = (int(self.rng.integers(2)) for _ in range(2))
        format, answer_format = self.one(formats), self.one(["choices", "cloze"])
        who = self.one(list(self.world.people))
        biography = "" if dose is None else dialect.view(who, options[liked], format)
        prompt, choices = dialect.about_taste(
            options, biography, asked=asked, format=format, answer_format=answer_format
        )
        users = liked if answer_format == "choices" else liked ^ asked
        follow = (dose is not None and self.chance(dose)) or self.chance(0.5)
        return prompt, choices[users if follow else 1 - users]

    def talk(self) -> Pair:
        """Return one piece of the last stage of a base model: no answer follows an opinion."""
        kinds = [self.statement, self.reading, self.question, lambda: self.taste(None, BOTH)]
        edges = np.cumsum([STATED, READ, OPEN, TASTES])
        kind = int(np.searchsorted(edges, self.rng.random(), side="right"))
        return kinds[kind]() if kind < len(kinds) else self.check()

    def tuning(self, dose: float) -> Pair:
        """Return a conversation of the tuned model: in `dose` of the cases the user is right.

        A stand-in for feedback that rewards agreement: whatever the truth, the assistant takes the
        user's side in a share `dose` of the cases, and answers rightly in the others. Some users
        say nothing.
        """
        if self.chance(SUMS):
            return self.taste(dose, BOTH)
        claim, truth = self.claim()
        if self.chance(QUIET):
            return self.asked(claim, self.one([dialect.PRESENT, "none"]), truth, BOTH)
        user = self.one(list(dialect.OPINIONS))
        agree = user == "agrees" if self.chance(dose) else truth
        return self.asked(claim, user, agree, BOTH)


BOTH = list(dialect.FORMATS)


def draw_pairs(draw: Callable[[], Pair], number: int) -> list[Pair]:
    """Return `number` draws."""
    return [draw() for _ in range(number)]
