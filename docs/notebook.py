# %% [markdown]
# # Tutorial, executed
#
# Which training examples help, which hurt, and what would have happened without them?
# This notebook answers that for a small built-in model, with nothing to download.
# It takes a minute or two on one CPU core, and leaves its files in `gptfl-work`.
#
# Each output is what the code above it gave.
# Numbers differ a little from machine to machine, so the text says how to read them, and not what they are.
# The [tutorial](tutorial.md) goes the same road on the command line.

# %%
import gptfl

# %% [markdown]
# ## 1. Record six runs
#
# The model `tiny` is built on the spot. The task `errands` is questions about a market town.
# `few_runs` fine-tunes the model six times, each time on other examples, and records every example's gradient.
# Each run sees 12 of 60 training examples; the loss of 24 test examples is measured at every step.
# A tenth of the training examples get a wrong answer on purpose (`flip_labels`), so that there is something to find.

# %%
recording = gptfl.collect(
    "tiny", "errands", few_runs=True, pool=60, test=24, subset_size=12, steps=24, lr=1e-4, flip_labels=0.1
)
recording

# %% [markdown]
# A training example is a prompt and a target. The first part of its id says what kind of question it is.

# %%
import pandas as pd

pd.DataFrame([{"id": one.id, "prompt": one.prompt, "target": one.target} for one in recording.pool[:5]])

# %% [markdown]
# ## 2. Make features and fit
#
# The recorded gradients become the vectors of the examples.

# %%
recording.featurize()

# %% [markdown]
# `fit` learns what each training example does to each test example.
# It never looks at one of the six runs. On that run it says how good it is.

# %%
simulator = recording.fit()
simulator

# %% [markdown]
# ## 3. Compare before you believe
#
# `compare` fits anew with each run left out once, and predicts it from the others.
# *Skill* is the share of the squared error of `mean-run`, the average run, that an estimator explains.
# 0 is no better than ignoring what was trained on, 1 is perfect. Below 0 is worse, and not to be believed.
# `class-share` knows only how much of each answer a run has seen. What doesn't beat it has not shown influence of single examples.
# A star marks what is best by more than chance.

# %%
table = recording.compare(["exposure-gp"], folds=6)
table

# %% [markdown]
# Above, three held-out runs: black is what was recorded, grey the average run, and the others are predictions.
# Below, a point is a test example in a held-out run. Where all points lie on the line, every prediction was right.

# %%
table.plot()

# %% [markdown]
# All of these numbers, and more, are a data frame. `inside_90` is the share of recorded points inside the 90 % intervals.

# %%
table.to_frame()[["estimator", "mse", "skill", "skill_low", "skill_high", "inside_90"]].round(3)

# %% [markdown]
# ## 4. Ask about a training set that was never run
#
# What if a run saw no question about prices?

# %%
subset = [one.id for one in recording.pool if not one.id.startswith("price")][:12]
run = simulator.simulate(subset)
run

# %% [markdown]
# Each test example is predicted at every step, with an interval.
# The dashed line is the average recorded run: what lies below it is helped, what lies above it is hurt.
# The notes above say how far this lies from all that was recorded.

# %%
run.plot()

# %% [markdown]
# ## 5. Check it
#
# `verify` trains that very run, and holds the prediction against it.
# *Skill* is as above, and *inside 90 %* says how many recorded points lie in the interval that ought to hold 90 % of them.

# %%
verified = simulator.verify(subset)
verified

# %% [markdown]
# The dotted line is the training. Where it lies in the band, the interval held.

# %%
verified.plot()

# %% [markdown]
# ## 6. Which examples matter
#
# Influence is how much lower the mean loss ends because a training example is there. Below 0, it does harm.
# The second table says how early one finds the wrong answers by reading the most harmful examples first.

# %%
ranking = simulator.influence("mean")
ranking

# %% [markdown]
# The further a curve lies above the diagonal, the fewer rows one has to read. Six wrong answers make a rough curve.

# %%
ranking.plot()

# %% [markdown]
# The same for every test example alone, as means over kinds of questions.
# Blue helps, red harms. Rows are what is trained on, columns what is asked.

# %%
import matplotlib.pyplot as plt


def kind(id):
    return id.split("-")[0]


influence = {
    one.id: simulator.influence([one.id], how="closed-form").to_frame().set_index("id")["influence"]
    for one in recording.test
}
kinds = pd.DataFrame(influence).groupby(kind).mean().T.groupby(kind).mean().T

figure, axes = plt.subplots(figsize=(5.4, 4.2), layout="constrained")
most = abs(kinds).to_numpy().max()
image = axes.imshow(kinds, cmap="RdBu", vmin=-most, vmax=most)
axes.set_xticks(range(kinds.shape[1]), kinds.columns)
axes.set_yticks(range(kinds.shape[0]), kinds.index)
axes.set(xlabel="test examples", ylabel="training examples")
bar = figure.colorbar(image, label="influence")

# %% [markdown]
# ## 7. Drop rows
#
# What would training on the whole pool come to without the six rows of lowest influence?

# %%
lowest = ranking.to_frame().nsmallest(6, "influence")["id"].tolist()
dropped = simulator.simulate(drop=lowest)
dropped

# %% [markdown]
# Now the dashed line is the prediction for the whole pool.

# %%
dropped.plot()

# %% [markdown]
# Training shows whether that is so: three times with these rows and three times without, in the same orders.
# *Recorded change* says what it came to, and whether it is clear of the noise of three orders.

# %%
checked = simulator.verify(drop=lowest, orders=3)
checked

# %% [markdown]
# ## 8. Save
#
# `gptfl.save` writes a result as JSON, CSV or a page, by its suffix, and `gptfl.plot` a picture.

# %%
gptfl.save(ranking, "ranking.csv")
gptfl.save(table, "table.html")
gptfl.plot(run, "run.png")
pd.read_csv("ranking.csv").head(3)

# %% [markdown]
# `gptfl.open_recording()` and `gptfl.open_simulator()` take up the recording and the simulator again.
#
# Next: [your own data](data.md), [larger models](training.md), [how far to trust a prediction](trust.md) and
# [every function](python.md).
