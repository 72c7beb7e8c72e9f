"""What can be changed in a C file: one place at a time, as somebody might have written it wrong.

Goes by words and by the layout that clang-format keeps (an operator with two operands has a space on each side; a pointer's star has
not), so it needs no parser: what does not compile is dropped by whoever asked."""
import collections
import re

Mutant = collections.namedtuple('Mutant', 'path line old new begin end kind')

WORD = re.compile(r'''
    (?P<skip>/\*.*?\*/|//[^\n]*|^[ \t]*\#(?:[^\n\\]|\\.|\\\n)*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
  | (?P<number>\b(?:0[xX][0-9a-fA-F]+|\d+)[uUlL]*\b)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<operator><<=|>>=|<<|>>|<=|>=|==|!=|&&|\|\||\+\+|--|->|[-+*/%&|^]=|[-+*/%&|^<>=!~?:;,.(){}\[\]])
''', re.VERBOSE | re.MULTILINE | re.DOTALL)

SWAPS = {'<': ['<=', '>='], '>': ['>=', '<='], '<=': ['<', '>'], '>=': ['>', '<'], '==': ['!='], '!=': ['=='], '&&': ['||'], '||': ['&&'],
         '+': ['-'], '-': ['+'], '*': ['/'], '/': ['*'], '%': ['/'], '&': ['|'], '|': ['&'], '^': ['|'], '<<': ['>>'], '>>': ['<<'],
         '+=': ['-='], '-=': ['+='], '|=': ['&='], '&=': ['|='], '^=': ['|=']}
STEPS = {'++': '--', '--': '++'}
NOT_A_STATEMENT = {'return', 'if', 'for', 'while', 'do', 'switch', 'case', 'default', 'goto', 'break', 'continue', 'else', 'static', 'const',
                   'struct', 'enum', 'union', 'typedef', 'sizeof', '_Static_assert'}


def words_of(text):
    found = []
    for match in WORD.finditer(text):
        if match.lastgroup != 'skip':
            found.append((match.lastgroup, match[0], match.start(), match.end()))
    return found


def closing(words, at):
    """The place of the bracket that closes the one at `at`."""
    pairs, depth = {'(': ')', '{': '}', '[': ']'}, 0
    first, last = words[at][1], pairs[words[at][1]]
    for place in range(at, len(words)):
        depth += (words[place][1] == first) - (words[place][1] == last)
        if depth == 0:
            return place
    return len(words) - 1


def bodies(words):
    """The functions, as (place of the opening brace, of the closing one): a brace behind a closing parenthesis, at depth 0."""
    at = 0
    while at < len(words):
        if words[at][1] == '{':
            end = closing(words, at)
            if at and words[at - 1][1] == ')':
                yield at, end
            at = end
        at += 1


def statement_end(words, at):
    while words[at][1] != ';':
        if words[at][1] in '({[':
            at = closing(words, at)
        elif words[at][1] in ')}]':
            return None
        at += 1
    return at


def change_word(text, words, at):
    kind, word, begin, end = words[at]
    around = text[begin - 1] + text[end]
    if kind == 'operator' and word in SWAPS and around.isspace():
        for new in SWAPS[word]:
            yield begin, end, new, 'operator'
    elif kind == 'operator' and word in STEPS:
        yield begin, end, STEPS[word], 'operator'
    elif kind == 'number':
        digits = re.match(r'0[xX][0-9a-fA-F]+|\d+', word)[0]
        value = int(digits, 16 if digits[:2] in ('0x', '0X') else 10)
        yield begin, end, f'{value + 1}{word[len(digits):]}', 'constant'
        if value > 0:
            yield begin, end, f'{value - 1}{word[len(digits):]}', 'constant'
    elif word in ('true', 'false'):
        yield begin, end, 'false' if word == 'true' else 'true', 'constant'


def change_statement(text, words, at):
    kind, word, begin, _ = words[at]
    if word in ('if', 'while') and words[at + 1][1] == '(':
        last = closing(words, at + 1)
        inside = text[words[at + 1][3]:words[last][2]]
        yield words[at + 1][3], words[last][2], f'!({inside})', 'condition'
    elif word == 'return' and words[at + 1][1] != ';':
        end = statement_end(words, at)
        inside = text[words[at + 1][2]:words[end][2]]
        if inside not in ('0', 'NULL', 'true', 'false'):
            yield words[at + 1][2], words[end][2], '0', 'return'
            yield words[at + 1][2], words[end][2], f'!({inside})', 'return'
    elif kind == 'name' and word not in NOT_A_STATEMENT or word in '*(' or word in STEPS:
        before = words[at - 1][1]
        if before not in (';', '{', '}', ')', 'else', ':'):
            return
        end = statement_end(words, at)
        if end is None:
            return
        inside = [w[1] for w in words[at:end]]
        is_call = len(inside) > 2 and inside[-1] == ')' and (inside[1] in ('(', '->', '.') or word == '(')
        is_assignment = any(w in ('=', '+=', '-=', '|=', '&=', '^=', '<<=', '>>=', '++', '--') for w in inside)
        is_declaration = kind == 'name' and words[at + 1][0] == 'name' or len(inside) > 2 and inside[1] == '*' and words[at + 1][3] == words[at + 2][2]
        if (is_call or is_assignment) and not is_declaration:
            yield begin, words[end][2], '', 'statement'


def mutants(path, text):
    words = words_of(text)
    for first, last in bodies(words):
        for at in range(first + 1, last):
            for begin, end, new, kind in (*change_word(text, words, at), *change_statement(text, words, at)):
                yield Mutant(path, text.count('\n', 0, begin) + 1, text[begin:end], new, begin, end, kind)
