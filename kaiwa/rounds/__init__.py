"""Rounds: steps 2 and 3 again and again, with labels by people or by the village's labellers (section 3.1).

    RUN/rounds/N/outputs/       K outputs a prompt from a mix of policies, queued as a batch to label
    RUN/rounds/N/comparisons/   the labels of rounds 1 to N when training began
    RUN/rounds/N/reward/        the reward model on them, from the SFT model
    RUN/rounds/N/policy/        the policy against it, from the SFT model
    RUN/rounds/N/evaluation/    win rates against the round before, the first round and the SFT model

Each is an artifact with its parents, so that a killed command goes on. Labels that come while a round is trained wait
for the next round: `comparisons` is taken once.
"""
