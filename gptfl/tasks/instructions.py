"""Instruction templates: each example's prompt put as a request, in one of several wordings of its task.

Only the prompt changes. Targets and choices stay, so every wording is one that they can follow, and what is
asked stands at the end, because a prompt that does not fit loses its beginning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gptfl.core import Example, fingerprint

FIELD = "template"
"""The field that keeps which of its task's templates an example got, from 0."""

RTE = (
    "Read the text, then judge the claim.\nText: {premise}\nClaim: {hypothesis}\n"
    "If the text is true, must the claim be true as well? Answer yes or no:",
    "{premise}\n\nGiven nothing but this, can one be sure that the following holds?\n{hypothesis}\nYes or no:",
    "Here is what somebody wrote: {premise}\nSomebody else concludes: {hypothesis}\n"
    "Say yes if the conclusion is justified and no if it is not:",
    "Statement A: {premise}\nStatement B: {hypothesis}\nDecide whether B follows from A. Reply with yes or no:",
    "You are checking a summary against its source.\nSource: {premise}\nSummary: {hypothesis}\n"
    "Does the source support the summary (yes or no)?",
    "Claim to verify: {hypothesis}\nEvidence: {premise}\nIs the evidence enough to accept the claim? Your verdict:",
)

SST2 = (
    "Decide whether the following remark about a film is positive or negative.\nRemark: {sentence}\nDecision:",
    "A critic wrote: {sentence}\nIn one word, negative or positive, the critic's view is",
    "{sentence}\n\nWould a person who says this about a film recommend it? Write positive if so and negative if not:",
    "Sort film reviews by their tone.\nReview: {sentence}\nTone (positive or negative):",
    "What feeling does this sentence from a review express, a negative or a positive one?\n{sentence}\nFeeling:",
    "Label the text with its sentiment.\nText: {sentence}\nPossible labels: negative, positive\nLabel:",
)

BOOLQ = (
    "{passage}\n\nUse the passage above to answer the question with yes or no.\n{question}\nAnswer:",
    "Background: {passage}\nSomebody asks: {question}\nThe right reply, yes or no, is",
    "Read this and then answer.\n{passage}\nYes or no: {question}\nReply:",
    "Passage: {passage}\n\nAccording to the passage, {question}\nChoose between no and yes:",
    "Check a fact in an encyclopedia.\nEntry: {passage}\nQuestion: {question}\nWhat does the entry say, yes or no?",
    "{passage}\nQ: {question}\nA (one word, yes or no):",
)

WEBNLG = (
    "Turn these facts into fluent English. Leave nothing out and add nothing.\n{facts}\nText:",
    "Each line gives a subject, a relation and an object.\n{facts}\nWrite a short description that says all of this:",
    "A database holds the following entries.\n{facts}\nTell a reader what they mean, in a sentence or two:",
    "Data:\n{facts}\nPut the data into words:",
    "Write what an encyclopedia could say, knowing only this:\n{facts}\nArticle:",
    "Combine the facts below into natural sentences.\n{facts}\nSentences:",
)

WMT16_DE_EN = (
    "Translate the German sentence into English.\n{german}\nTranslation:",
    "{german}\n\nWhat does this German text say? In English:",
    "You are an interpreter. A German speaker says: {german}\nYou say in English:",
    "German: {german}\nGive the same meaning in good English.\nEnglish:",
    "Here is a line from a German newspaper: {german}\nFor readers in England it becomes:",
    "Render in English what follows.\nText: {german}\nRendering:",
)

CNN_DAILYMAIL = (
    "{article}\n\nSum up the article above in a few sentences.\nSummary:",
    "Read the report and state its main points.\nReport: {article}\nMain points:",
    "Article: {article}\nWrite the highlights that a hurried reader needs to know:",
    "{article}\n\nWhat happened, in short?",
    "Here is a news story.\n{article}\nShorten it to its most important facts:",
    "An editor asks for a summary of this story.\n{article}\nThe summary reads:",
)

GENERIC = (
    "Answer as well as you can.\n{prompt}",
    "Here is a task. Complete it.\n\n{prompt}",
    "Read what follows with care and go on from where it ends.\n{prompt}",
    "Below is a request. Write the reply that fits it best.\n\n{prompt}",
    "Do what the next lines ask for, and no more.\n{prompt}",
    "You are a helpful assistant, and this is what you are given:\n{prompt}",
)
"""For tasks that have no templates of their own: an opening before the prompt as it is."""


def instructed(example: Example, templates: Sequence[str], parts: Mapping[str, str], seed: int) -> Example:
    """The example with its prompt worded by one of the templates.

    Seed and id alone choose which, so that a larger pool leaves the examples of a smaller one as they are.

    Args:
        example: whose id chooses.
        templates: to choose from.
        parts: what a template has places for.
        seed: of the choice.
    """
    number = int(fingerprint("template", seed, example.id), 16) % len(templates)
    fields = {**example.fields, FIELD: number}
    return replace(example, prompt=templates[number].format(**parts), fields=fields, digest="")
