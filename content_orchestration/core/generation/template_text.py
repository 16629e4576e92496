"""The fixed sentences of the template provider. Which of them a text takes, and in what order, is `template.py`'s."""

NOTICE = "*Template text: no language model wrote this.*"

OPENINGS = (
    "Work on {keyword} is easier with a plan, and this {kind} sets out the parts of one.",
    "This {kind} looks at {keyword}: what it asks for, what it gives back, and where to begin.",
    "Whoever starts with {keyword} soon meets the same few questions, and this {kind} takes them in turn.",
)

HEADINGS = (
    "The purpose of {keyword}",
    "The case for {keyword}",
    "First steps with {keyword}",
    "What often goes wrong",
    "How to tell that it works",
    "What to do next",
    "Who should be involved",
    "What it costs",
    "What to write down",
    "When to think again",
)

SENTENCES = (
    "Begin with the reader, and write down in one line what that person wants to know about it.",
    "A goal that can be measured keeps the work honest and the discussion short.",
    "Small steps that are finished beat large ones that are only planned.",
    "Each claim needs a source that somebody else can open and check.",
    "Ask two people who did not write the text what they understood after reading it once.",
    "What cannot be explained in plain words is usually not yet clear to the author either.",
    "Set a date for the first version, and let that date decide what is left out.",
    "Numbers say more when the reader knows what they were last month.",
    "The people who do the work every day know most of the answers already.",
    "A short list of what will not be done protects the time for what will be.",
    "Keep one place where decisions are written down with their reasons.",
    "Most of the effort goes into the last tenth, so plan for it from the start.",
    "An example from practice is remembered long after the rule is forgotten.",
    "Review the plan when something changes, and not only when the calendar says so.",
    "If two options look equal, choose the one that is easier to take back.",
    "Costs are best estimated as a range, with the reason for its width beside it.",
    "What is measured every week should fit on a single page.",
    "Good preparation shows in the questions that nobody has to ask any more.",
    "Let a new reader try the first step alone and watch where they stop.",
    "Clear ownership matters more than a perfect process.",
    "A mistake that is found early is cheap, so look for it early.",
    "Leave time between writing and checking, since tired eyes see what they expect.",
    "The simplest version that helps somebody is the right place to begin.",
    "Repeat the most important point at the end, in other words than at the start.",
)

ON_KEYWORD = (
    "For {keyword}, this means deciding first what a good result looks like.",
    "With {keyword} the order of the steps counts as much as the steps.",
    "Most questions about {keyword} come down to time, money and attention.",
    "Those who work with {keyword} daily tend to keep their notes short and dated.",
    "A look at {keyword} from the reader's side changes what seems important.",
    "There is no need to settle everything about {keyword} on the first day.",
)

EMAIL_GREETING = "Hello,"
EMAIL_CLOSING = "Kind regards"
