"""How exact scoring is on this device: shared tokens, and bfloat16 against float32.

Usage: python -m bench.exactness [--model smollm2_135m_instruct --sums 20]

For both number formats: the differences of log-probabilities between passes that share tokens and
the plain one, on random tokens, beside those between the plain one and float32 throughout, and
whether the passes are used. Then addition prompts scored in
both: differences of the log-odds of an item, and of the opinion shift.
"""

from __future__ import annotations

import argparse
import gc

import numpy as np

from sycophancy import metrics, models, runs, scoring, suites
from sycophancy.scoring import cached, exactness, packed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=models.DEFAULT)
    parser.add_argument("--sums", type=int, default=20)
    options = parser.parse_args()
    print(f"{options.model}, {runs.device()}: |shared - plain| in nats, at most "
          f"{exactness.RATIO:g} times what rounding does to the plain pass")  # fmt: skip
    odds, shifts = {}, {}
    for dtype in ("float32", "bfloat16"):
        model = models.load(options.model, dtype)
        gaps = {
            "packed": packed.differences(model, 4, 256),
            "behind a cache": cached.differences(model),
        }
        for way, gap in gaps.items():
            found, rounding = gap.found, gap.rounding
            print(f"  {dtype} {way}: mean {found.mean():.1e}, most {found.max():.1e}; rounding: "
                  f"mean {rounding.mean():.1e}, most {rounding.max():.1e}; "
                  f"{'used' if gap.exact else 'not used'}")  # fmt: skip
        items = suites.additions(
            n=options.sums, seed=0, answer_formats=("statement",), chat=model.chat
        )
        scores, cost = scoring.score(model, items)
        joined = metrics.join(items, scores)
        odds[dtype] = joined.set_index("item_id")["log_odds"]
        shifts[dtype] = metrics.shift_by_question(joined)["shift"].mean()
        print(f"  {dtype}: {len(items)} items, {cost.saved_tokens:,} of "
              f"{cost.tokens + cost.saved_tokens:,} tokens shared")  # fmt: skip
        del model
        gc.collect()
    differences = (odds["bfloat16"] - odds["float32"]).dropna().abs()
    print(
        f"log-odds of an item, bfloat16 - float32: mean {differences.mean():.4f}, "
        f"most {differences.max():.4f} nats over {len(differences)} items; "
        f"opinion shift {shifts['bfloat16']:+.4f} against {shifts['float32']:+.4f}"
    )
    assert np.isfinite(differences).all()


if __name__ == "__main__":
    main()
