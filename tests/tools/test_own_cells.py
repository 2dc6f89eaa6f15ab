"""A student's own cells: honest ones pass, those that reach into the reference's are named."""

import ast
import json

import pytest

from hw4.tools import execute, student
from hw4.tools.own_cells import reaches
from hw4.tools.submission import parse, read

ABOVE = """\
import keras
import numpy as np
import matplotlib.pyplot as plt
from keras import layers
from hw4 import measure
from hw4.claims import Claims

claims = Claims("q7")
SCALE = 2
(x_train, y_train), (x_test, y_test) = load()
model = build()
log = [{"score": 0.5}]
maps = [np.zeros(3), np.ones(3)]


def scaled(one):
    return SCALE * one
"""
BELOW = """\
def later(maps):
    accuracy = 2
    return maps, accuracy
for name, value in pairs(3):
    shown = value
    print(name, shown)
claims.at_least("7-a", "x", measured=accuracy, reported=max(scaled(maps)), mark=np.size(log))
model.evaluate(x_test, y_test)
"""


def reach(*own, above=ABOVE, below=BELOW):
    """What is said of own cells between the reference's."""
    return list(reaches([above, *own, below], dict.fromkeys(range(1, len(own) + 1), "")).values())


HONEST = {
    "prints": "print(f'{accuracy:.2f} of {len(maps)}')\nx_train.shape",
    "a plot": """\
fig, ax = plt.subplots(1, 2)
ax[0].plot(maps[0])
ax[1].set_title('mine')
plt.show()""",
    "settings of plots": """\
plt.rcParams['font.size'] = 8
plt.rcParams.update({'lines.linewidth': 2})""",
    "a model": """\
net = keras.Sequential([keras.Input(x_train.shape[1:]), layers.Flatten(), layers.Dense(10)])
net.compile("adam", loss=keras.losses.MeanSquaredError(), metrics=["accuracy"])
history = net.fit(x_train[:100], y_train[:100], epochs=1, verbose=0)
net.summary()
for layer in net.layers:
    layer.trainable = False
plt.plot(history.history["loss"])""",
    "their model": "guess = model.predict(x_test[:9])\nguess[guess < 0.5] = 0\nmodel.summary()",
    "a copy of their model": """\
other = keras.models.clone_model(model)
other.set_weights(model.get_weights())
other.layers[0].trainable = False
other.fit(x_train, y_train)""",
    "sklearn": """\
from sklearn.linear_model import LogisticRegression
fitted = LogisticRegression(max_iter=10).fit(x_train.reshape(len(x_train), -1), y_train)
print(fitted.score(x_test.reshape(len(x_test), -1), y_test))""",
    "pandas": """\
import pandas as pd
table = pd.DataFrame(log)
table["rank"] = table["score"].rank()
table.loc[0, "rank"] = 3
table.drop(columns=["rank"], inplace=True)
table.sort_values("score").head()""",
    "loops": """\
total, seen = 0, []
for number, one in enumerate(maps):
    total += one.mean()
    seen.append(number)
    while total > 3:
        total -= 1
seen.sort()
seen[0] = 3""",
    "counting": """\
counts: dict = {}
for label in y_train:
    counts[label] = counts.get(label, 0) + 1
more = {digit: 0 for digit in range(10)}
for label in y_train:
    more[label] += 1""",
    "a class": """\
class Net(keras.Model):
    \"\"\"Mine.\"\"\"
    def __init__(self, units: int = 3):
        super().__init__()
        self.dense = layers.Dense(units)
        self.losses_seen: list = []
        self.calls = 0
    def call(self, x):
        self.calls += 1
        self.losses_seen.append(x)
        return self.dense(x)
net = Net(4)
net.compile("sgd", "mse")
net.fit(x_train, y_train)
print(Net.__name__, Net.__doc__)""",
    "a class that keeps data": """\
class Trainer:
    def __init__(self, x):
        self.x = x
        self.history = []
    def run(self):
        self.history.append(self.x.mean())
        return self
Trainer(x_train).run()""",
    "type hints": """\
def double(x: np.ndarray, by: int = 2) -> np.ndarray:
    return by * x
print(double(maps[0]))""",
    "try": """\
try:
    model.predict(maps)
except (ValueError, TypeError) as error:
    print(type(error), error)
finally:
    print("done")""",
    "versions": "import sys, platform\nprint(sys.version, np.__version__, platform.system())",
    "timeit": "%timeit scaled(3)",
    "timeit in a loop": "for n in (1, 2):\n    %timeit -n 10 -r 3 scaled(n)",
    "timeit of a cell": "%%timeit -n 3\nscaled(4)",
    "a magic": """\
%matplotlib inline
%config InlineBackend.figure_format = 'retina'
!ls -l
scaled?""",
    "a changed copy": "mine = x_test[0].copy()\nmine[3:5] = 0\nmine += 1\nmine[2] += 3",
    "noise": "noisy = x_test + np.random.normal(size=x_test.shape)\nnoisy[noisy > 1] = 1",
    "functions of modules": "np.sort(x_test)\nnp.append(y_test, 3)\nnp.insert(y_test, 0, 1)",
    "a helper that trains": """\
def train(net, x, y, epochs=1):
    net.compile("adam", "mse")
    net.fit(x, y, epochs=epochs)
    return net
small = keras.Sequential([layers.Dense(3)])
best = train(small, x_train, y=y_train)
best.fit(x_train, y_train)""",
    "parameters named like own variables": """\
m = maps
def emptied(m):
    m = list(m)
    m.append(3)
    return m
one = maps[0]
print([one + 1 for one in maps], emptied([1]))""",
    "a parameter that is changed": """\
def add(counts, key):
    counts[key] = counts.get(key, 0) + 1
mine = {}
for label in y_test:
    add(mine, label)""",
    "names that are set first below": "name, value, shown = 'a', 1, 2",
    "their names in a function": """\
def f(accuracy):
    maps = accuracy + 1
    return maps
print(f(3))""",
    "their names inside": "print([accuracy for accuracy in x_test], {maps for maps in y_test})",
    "imports again": """\
import numpy as np
from keras import layers, ops
from collections import Counter
from IPython.display import display
display(Counter(y_test))""",
    "their own claims": "mine = Claims('q7')\nmine.equal('a', 'b', reported=1, measured=1)",
    "memory": "import gc\ngc.collect()",
    "random": """\
import random
order = list(range(len(x_train)))
random.shuffle(order)
rng = np.random.default_rng(3)
rng.shuffle(order)""",
    "a callback": """\
class Log(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        print(epoch, logs)
        self.seen = epoch
keras.Sequential([layers.Dense(1)]).fit(x_train, y_train, callbacks=[Log()])""",
    "nested lists": """\
grid = [[0] * 3 for _ in range(3)]
grid[0][1] = 2
grid[1][1] += 2
kept = {'a': []}
kept['a'].append(accuracy)""",
    "a question to help": "model.fit?",
    "typical: seaborn": "import seaborn as sns\nsns.heatmap(maps[0])",
    "typical: df ops": """\
import pandas as pd
df = pd.DataFrame({'p': model.predict(x_test).argmax(axis=1), 't': y_test})
df['ok'] = df.p == df.t
print(df.groupby('t').ok.mean())
df = df.sort_values('p')
df.loc[df.ok, 'p'] = 3""",
    "typical: conf": """\
from sklearn.metrics import confusion_matrix
cm = confusion_matrix(y_test, model.predict(x_test).argmax(1))
print(cm)""",
    "typical: lr sweep": """\
results = {}
for lr in (0.1, 0.01):
    net = keras.Sequential([layers.Flatten(), layers.Dense(10)])
    net.compile(keras.optimizers.SGD(lr), 'mse')
    results[lr] = net.fit(x_train, y_train, verbose=0).history['loss'][-1]
best = min(results, key=results.get)
print(best)""",
    "typical: gradient tape": """\
import tensorflow as tf
v = tf.Variable(x_test[0])
with tf.GradientTape() as tape:
    tape.watch(v)
    loss = tf.reduce_sum(model(v))
g = tape.gradient(loss, v)""",
    "typical: axes": """\
fig, axes = plt.subplots(2, 2)
for ax, m in zip(axes.flat, maps):
    ax.imshow(m)
    ax.set(title='x')
    ax.axis('off')
fig.tight_layout()""",
    "typical: pad": """\
padded = np.zeros((32, 32))
padded[2:30, 2:30] = x_test[0, ..., 0]
padded *= 2""",
    "typical: occlusion": """\
image = x_test[0].copy()
for i in range(0, 28, 4):
    covered = image.copy()
    covered[i:i+4] = 0
    print(model.predict(covered[None]))""",
    "typical: shift": """\
def shifted(images, by):
    out = np.roll(images, by, axis=1)
    out[:, :by] = 0
    return out
print(model.evaluate(shifted(x_test, 3), y_test))""",
    "typical: zero channel": """\
def without(m, k):
    m = m.copy()
    m[k] = 0
    return m
without(maps[0], 1)""",
    "typical: freeze": """\
base = keras.applications.MobileNetV2(weights=None)
base.trainable = False
for layer in base.layers[-3:]:
    layer.trainable = True""",
    "typical: timing": """\
import time
start = time.perf_counter()
scaled(3)
print(time.perf_counter() - start)""",
    "typical: recursion": """\
def fact(n):
    return 1 if n < 2 else n * fact(n - 1)
print(fact(5))""",
    "typical: memo": """\
memo = {}
def fib(n):
    if n not in memo:
        memo[n] = n if n < 2 else fib(n - 1) + fib(n - 2)
    return memo[n]
print(fib(9))""",
    "typical: global counter": """\
count = 0
def step():
    global count
    count += 1
step()
print(count)""",
    "typical: dataclass": """\
from dataclasses import dataclass, field
@dataclass
class Run:
    name: str
    scores: list = field(default_factory=list)
runs = [Run('a')]
runs[0].scores.append(3.0)
for run in runs:
    run.name = 'b'""",
    "typical: queue": """\
from collections import deque
q = deque([1])
while q:
    n = q.popleft()
    if n < 5: q.append(n + 1)""",
    "typical: string build": """\
text = ''
for m in maps:
    text += f'{m.mean():.2f} '
print(text)""",
    "typical: assert": "assert len(maps) == 2, 'no'\nassert np.allclose(maps[0], maps[0])",
    "typical: sum loop": """\
total = 0.0
for x, y in zip(x_test, y_test):
    total += float((model.predict(x[None]).argmax() == y))
total /= len(x_test)""",
    "typical: own loop matmul": """\
W = np.random.randn(3, 3)
for _ in range(3):
    W -= 0.1 * (W @ W)
W[W < 0] = 0""",
    "typical: env read": "import os\nprint(os.environ.get('HW4_PROFILE'), os.getcwd())",
    "typical: save": "plt.savefig('a.png')\nnp.save('a.npy', maps[0])",
    "typical: warnings": "import warnings\nwarnings.filterwarnings('ignore')",
    "typical: pandas options": """\
import pandas as pd
pd.options.display.max_rows = 9
pd.set_option('display.width', 99)""",
    "typical: np print": "np.set_printoptions(precision=3)",
    "typical: widgets": """\
from ipywidgets import interact
interact(lambda k: plt.imshow(maps[k]), k=(0, 1))""",
    "typical: torch": "import torch\nt = torch.tensor(maps[0])\nt.requires_grad_(True)",
    "typical: functional": """\
inputs = keras.Input((28, 28, 1))
x = layers.Conv2D(3, 3)(inputs)
net = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(x)))
net.compile('adam', 'mse')
net.fit(x_train, y_train)""",
    "typical: builder": """\
def make(units):
    net = keras.Sequential()
    net.add(keras.Input(x_train.shape[1:]))
    for n in units:
        net.add(layers.Dense(n))
    net.compile('adam')
    return net
nets = [make([n]) for n in (3, 4)]
for net in nets:
    net.fit(x_train, y_train)""",
    "typical: builder classes": """\
n_classes = len(np.unique(y_train))
net = keras.Sequential([layers.Dense(n_classes)])
net.fit(x_train, y_train)""",
    "typical: history collect": """\
histories = []
for n in (1, 2):
    net = keras.Sequential([layers.Dense(n)])
    histories.append(net.fit(x_train, y_train))
plt.plot(histories[0].history['loss'])""",
    "typical: scaler": """\
from sklearn.preprocessing import StandardScaler
scaler = StandardScaler()
xs = scaler.fit_transform(x_train.reshape(len(x_train), -1))
xs[0] = 0""",
    "typical: subset mutated": "X = np.array(x_train[:100])\nX[0] = 0\nX /= 255",
    "typical: sorted in place own": """\
scores = [float(m.mean()) for m in maps]
scores.sort(reverse=True)
scores.insert(0, 1.0)""",
    "typical: dict of lists": """\
curves = {name: [] for name in ('a', 'b')}
for m in maps:
    curves['a'].append(m.mean())
    curves['b'].append(m)""",
    "typical: matrix": """\
C = np.zeros((10, 10), int)
for t, p in zip(y_test, model.predict(x_test).argmax(1)):
    C[t, p] += 1""",
    "typical: set": "seen = set()\nfor y in y_test:\n    seen.add(int(y))",
    "typical: counter": """\
from collections import Counter, defaultdict
c = Counter(y_test)
c.update([3])
d = defaultdict(list)
for y, m in zip(y_test, maps):
    d[y].append(m)""",
    "typical: normalise": """\
def norm(x):
    x = x - x.mean()
    x /= x.std()
    return x
print(norm(maps[0]))""",
    "typical: np.where": "m = np.where(maps[0] > 0, maps[0], 0)\nm[0] = 3",
    "typical: class state": """\
class Counter2:
    total = 0
    def __init__(self): self.n = 0
    def hit(self):
        self.n += 1
        Counter2.total += 1
Counter2().hit()""",
    "typical: tf.function": """\
import tensorflow as tf
@tf.function
def step(x):
    return model(x)
step(x_test[:1])""",
    "typical: main": "if __name__ == '__main__':\n    print('x')",
    "typical: int keys": """\
history = {'loss': [], 'acc': []}
history['loss'].append(model.evaluate(x_test, y_test)[0])""",
}  # fmt: skip


@pytest.mark.parametrize("source", HONEST.values(), ids=HONEST)
def test_an_honest_cell_is_no_finding(source):
    assert reach(source) == []


FORGERIES = {
    "set": "accuracy = 1",
    "set in a tuple": "a, (b, *accuracy) = 1, (2, 3)",
    "set by =": "a = accuracy = 1",
    "set with a hint": "accuracy: float = 1",
    "set by +=": "accuracy += 1",
    "set by :=": "print(accuracy := 1)",
    "set by := in a comprehension": "[accuracy := i for i in range(2)]",
    "set by for": "for accuracy in [1]: pass",
    "set by with": "with open('x') as accuracy: pass",
    "set by import": "import math as accuracy",
    "set by from": "from math import pi as accuracy",
    "set by try": "try: 1 / 0\nexcept Exception as accuracy: pass",
    "set by match": "match 1:\n    case accuracy: pass",
    "set by def": "def accuracy(): pass",
    "set by class": "class accuracy: pass",
    "set by global": "def f():\n    global accuracy\n    accuracy = 1\nf()",
    "set by global in a class": "class A:\n    global accuracy\n    accuracy = 1",
    "deleted": "del accuracy",
    "timed": "%time accuracy = 1",
    "a builtin": "max = lambda x: 1",
    "what a function above reads": "SCALE = 3",
    "a function above": "def scaled(x): return 1",
    "another numpy": "import math as np",
    "numpy, then another": "import numpy as np\nnp = 3",
    "append": "maps.append(3)",
    "an item": "maps[0] = 3",
    "an item of an item": "log[0]['score'] = 3",
    "an item deleted": "del maps[0]",
    "an item by for": "for maps[0] in [1]: pass",
    "a part by +=": "maps[0] += 1",
    "a module": "np.mean = lambda x: 1",
    "a method": "Claims.at_least = print",
    "a method of a model": "keras.Model.evaluate = print",
    "claiming": "claims.equal('7-a', 'x', reported=1, measured=1)",
    "training": "model.fit(x_train, y_train)",
    "training by the class": "keras.Model.fit(model, x_train, y_train)",
    "append by the class": "list.append(maps, 3)",
    "a bound method": "more = maps.append\nmore(3)",
    "map": "list(map(maps.append, [3]))",
    "alias": "mine = maps\nmine.append(3)",
    "alias of an alias": "b = a\na = maps\nb.append(3)",
    "alias, two at once": "a = b = maps\nb.append(3)",
    "alias, in a tuple": "a, b = 1, maps\nb.append(3)",
    "alias, unpacked": "a, *b = maps\na.fill(0)\nb.append(3)",
    "alias, a star": "*a, b = maps\na[0].fill(0)",
    "alias by for": "for m in maps: m.fill(0)",
    "alias by enumerate": "for i, m in enumerate(maps): m.fill(0)",
    "alias in a comprehension": "[m.fill(0) for m in maps]",
    "alias by or": "m = maps or 3\nm.append(3)",
    "alias by if": "m = maps if 1 else 3\nm.append(3)",
    "alias by :=": "(m := maps).append(3)",
    "alias by := and later": "print(m := maps)\nm.append(3)",
    "alias by with": "with nullcontext(maps) as m: m.append(3)",
    "alias by match": "match maps:\n    case m: m.append(3)",
    "alias with a hint": "m: list = maps\nm.append(3)",
    "alias by a default": "def f(m=maps): m.append(3)\nf()",
    "alias by lambda": "(lambda c: c.equal('7-a', 'x'))(claims)",
    "alias by a named lambda": "f = lambda c: c.append(3)\nf(maps)",
    "alias by a parameter": "def f(c): c.append(3)\nf(maps)",
    "alias by a keyword": "def f(*, c): c.append(3)\nf(c=maps)",
    "alias by a star": "def f(*c): c[0].append(3)\nf(maps)",
    "alias by a star at the call": "def f(c): c.append(3)\nf(*[maps])",
    "alias by map": "def f(c): c.fill(0)\nlist(map(f, maps))",
    "alias by return": "def f(): return maps\nf().append(3)",
    "alias by return, named": "def f(): return maps\nm = f()\nm.append(3)",
    "alias by return of a parameter": "def f(x): return x\nm = f(maps)\nm.append(3)",
    "alias by yield": "def f(): yield maps\nfor m in f(): m.append(3)",
    "alias in a list": "mine = [maps]\nmine[0].append(3)",
    "alias in a list, by for": "for m in [maps]: m.append(3)",
    "alias in a list, by append": "mine = []\nmine.append(maps)\nmine[0].append(3)",
    "alias in a dict": "mine = {}\nmine['a'] = maps\nmine['a'].append(3)",
    "alias in a list, +=": "mine = [maps]\nmine[0] += [3]",
    "alias in a shallow copy": "mine = list(maps)\nmine[0].fill(0)",
    "alias in an attribute": "class A: pass\na = A()\na.m = maps\na.m.append(3)",
    "alias in self": """\
class A:
    def __init__(self, m): self.m = m
    def go(self): self.m.append(3)
A(maps).go()""",
    "alias in a class": "class A:\n    m = maps\nA.m.append(3)",
    "a method unbound": "class A:\n    def f(self): self.judge = 1\nA.f(claims)",
    "a view": "flat = maps[0].reshape(-1)\nflat[:] = 0",
    "a slice": "part = maps[0][:2]\npart += 1",
    "asarray": "np.asarray(maps[0])[0] = 3",
    "out": "np.add(maps[0], 1, out=maps[0])",
    "copyto": "np.copyto(maps[0], 1)",
    "shuffle": "np.random.default_rng(1).shuffle(maps)",
    "inplace": "maps.drop(1, inplace=True)",
    "a layer of theirs": "model.get_layer('x').set_weights([])",
    "a model with their layers": """\
mine = keras.Sequential([*model.layers])
mine.fit(x_train, y_train)""",
    "their module by alias": "n = np\nn.mean = print",
    "their class by alias": "C = Claims\nC.at_least = print",
    "a builtin's name": "list = maps\nlist.append(3)",
    "a copy that is none": "def copy(x): return x\nm = copy(maps)\nm.append(3)",
    "setattr": "setattr(claims, 'x', 3)",
    "getattr": "getattr(maps, 'append')(3)",
    "exec": "exec('accuracy = 1')",
    "globals": "globals()['accuracy'] = 1",
    "vars": "vars(claims).clear()",
    "__dict__": "claims.__dict__['x'] = 1",
    "__class__": "claims.__class__.equal = print",
    "__setitem__": "maps.__setitem__(0, 3)",
    "__init__": "claims.__init__('q7')",
    "__builtins__": "__builtins__.max = print",
    "sys.modules": "import sys\nsys.modules['hw4.claims'].Claims = print",
    "modules": "from sys import modules",
    "frames": "import sys\nsys._getframe(0).f_globals.update(accuracy=1)",
    "mock": "from unittest import mock",
    "a file beside it": "import cheat",
    "a file beside it, relative": "from . import cheat",
    "a star": "from math import *",
    "sys.path": "import sys\nsys.path.insert(0, '.')",
    "the environment": "import os\nos.environ['HW4_SEED'] = '8'",
    "run": "%run -i cheat.py",
    "writefile": "%%writefile cheat.py\nx = 1",
    "load": "%load_ext cheat",
    "the shell": "!sed -i s/1/2/ claims.py",
    "the shell, with Python": "!ls {maps.append(3)}",
    "the shell, twice": "!ls; rm x",
    "a magic in a text": "s = '''\n%matplotlib inline ''' ; maps.append(3) ; t = '''\n'''",
    "no Python": "accuracy = = 3",
    "IPython": "get_ipython().user_ns['accuracy'] = 1",
    "further: dict values": "for m in {'a': maps}.values(): m.append(3)",
    "further: zip": "for a, b in zip(maps, maps): a.fill(0)",
    "further: next iter": "next(iter(maps)).fill(0)",
    "further: sorted key": "sorted([maps], key=lambda m: m.append(3))",
    "further: reduce": "from functools import reduce\nreduce(lambda a, b: a.append(b), [maps, 1])",
    "further: partial": "from functools import partial\npartial(maps.append, 3)()",
    "further: operator setitem": "import operator\noperator.setitem(maps, 0, 3)",
    "further: from operator": "from operator import setitem as s\ns(maps, 0, 3)",
    "further: copyto alias": "from numpy import copyto as c\nc(maps[0], 1)",
    "further: itemgetter": "from operator import methodcaller\nmethodcaller('append', 3)(maps)",
    "further: nested fn": "def f():\n    def g(): maps.append(3)\n    g()\nf()",
    "further: closure": "def f(m):\n    def g(): m.append(3)\n    return g\nf(maps)()",
    "further: decorator": "def d(f): f(maps)\n@d\ndef g(c): c.append(3)",
    "further: default list": "def f(x, into=[maps]): into[0].append(3)\nf(1)",
    "further: dataclass": """\
from dataclasses import dataclass
@dataclass
class A:
    m: list
A(maps).m.append(3)""",
    "further: namedtuple": """\
from collections import namedtuple
N = namedtuple('N', 'm')
N(maps).m.append(3)""",
    "further: simplenamespace": """\
from types import SimpleNamespace
SimpleNamespace(m=maps).m.append(3)""",
    "further: argparse ns": "from argparse import Namespace\nn = Namespace(m=maps)\nn.m.append(3)",
    "further: star dict": "d = {**{'m': maps}}\nd['m'].append(3)",
    "further: dict ctor": "d = dict(m=maps)\nd['m'].append(3)",
    "further: list mult": "d = [maps] * 2\nd[0].append(3)",
    "further: slice assign": "maps[:] = [1]",
    "further: ellipsis": "maps[0][...] = 0",
    "further: T": "maps[0].T[:] = 0",
    "further: flat": "maps[0].flat[0] = 3",
    "further: data": "maps[0].data[0] = 1",
    "further: nditer": "for x in np.nditer(maps[0], op_flags=['readwrite']): x[...] = 1",
    "further: memoryview": "memoryview(maps[0])[0] = 1.",
    "further: frombuffer": "np.frombuffer(maps[0])[0] = 1",
    "further: ravel": "np.ravel(maps[0])[0] = 1",
    "further: layer assign": "model.layers[0].kernel.assign(0)",
    "further: kernel": "k = model.layers[0].kernel\nk.assign(0)",
    "further: trainable": "model.trainable = False",
    "further: vars in f": "(lambda v: v(claims))(vars)",
    "further: Claims subclass": "class C(Claims): pass\nC.at_least(claims, 'a')",
    "further: metaclass": """\
class M(type):
    def __call__(cls): maps.append(3)
class A(metaclass=M): pass
A()""",
    "further: dunder add": "class A:\n    def __add__(self, o): o.append(3)\nA() + maps",
    "further: dunder getitem": "class A:\n    def __getitem__(self, o): o.append(3)\nA()[maps]",
    "further: property": "class A:\n    @property\n    def m(self): return maps\nA().m.append(3)",
    "further: ctx": """\
class A:
    def __enter__(self): return maps
    def __exit__(self, *a): pass
with A() as m: m.append(3)""",
    "further: generator send": """\
def g():
    m = yield
    m.append(3)
it = g()
next(it)
it.send(maps)""",
    "further: global in f then call": "def f():\n    global maps\n    maps = []\nf()",
    "further: import hw4": "import hw4.claims\nhw4.claims.judge = print",
    "further: import hw4 as": "from hw4 import claims as c\nc.judge = print",
    "further: hw4 func": "from hw4 import measure\nmeasure.paired_interval = print",
    "further: list del": "del maps[:]",
    "further: del attr": "del claims.entries",
    "further: try alias": "try:\n    m = maps\nfinally:\n    m.append(3)",
    "further: while alias": "m = []\nwhile not m:\n    m = maps\nm.append(3)",
    "further: if alias": "if 1: m = maps\nelse: m = []\nm.append(3)",
    "further: redefine copy": "class A:\n    def copy(self): return maps\nA().copy().append(3)",
    "further: np.array copy=False": "np.array(maps[0], copy=False)[0] = 1",
    "further: np.array copy=False name": "a = np.array(maps[0], copy=False)\na[0] = 1",
    "further: df view": "import pandas as pd\npd.DataFrame(maps[0], copy=False).iloc[0, 0] = 1",
    "further: astype nocopy": "a = maps[0].astype(float, copy=False)\na[0] = 3",
    "further: sys.stdout": "import sys\nsys.stdout = None",
    "further: async": "async def f():\n    maps.append(3)\nawait f()",
    "further: await set": "async def f():\n    global accuracy\n    accuracy = 1\nawait f()",
    "further: set in for else": "for i in (): pass\nelse: accuracy = 1",
    "further: chained call": "mine = []\nmine.append(maps) or mine.pop().append(3)",
    "further: chained name": "mine = [maps]\nlast = mine.pop()\nlast.append(3)",
    "further: setdefault": "mine = {}\nmine.setdefault('a', maps).append(3)",
    "further: dict or": "mine = {} | {'a': maps}\nmine['a'].append(3)",
    "further: walrus in cond": "if (m := maps): m.append(3)",
    "further: conditional lambda": "f = (lambda c: c.append(3)) if 1 else None\nf(maps)",
    "further: dict of functions": "fs = {'a': lambda c: c.append(3)}\nfs['a'](maps)",
    "further: dict of defs": "def f(c): c.append(3)\nfs = {'a': f}\nfs['a'](maps)",
    "further: def alias": "def f(c): c.append(3)\ng = f\ng(maps)",
    "further: class static": "class A:\n    @staticmethod\n    def f(c): c.append(3)\nA.f(maps)",
    "further: class method": "class A:\n    def f(self, c): c.append(3)\nA().f(maps)",
    "further: class __call__": "class A:\n    def __call__(self, c): c.append(3)\nA()(maps)",
    "further: inherit list": "class A(list): pass\nA.append(maps, 3)",
    "further: self not called self": "class A:\n    def f(me): me.x = 1\nA.f(claims)",
    "further: self in plain def": "def f(self): self.x = 1\nf(claims)",
    "further: self attr name outside": "self = claims\nself.equal('7-a')",
    "further: self dict": "class self: m = maps\nself.m.append(3)",
    "further: type hint exec": "x: exec('1') = 3",
    "further: fstring exec": "print(f'{maps.append(3)}')",
    "further: lambda default": "(lambda m=maps: m.append(3))()",
    "further: comprehension cond": "[1 for i in [0] if maps.append(3)]",
    "further: dict comp value": "d = {i: maps for i in range(2)}\nd[0].append(3)",
    "further: gen": "g = (m for m in maps)\nfor m in g: m.fill(0)",
    "further: augassign attr": "claims.x += 1",
    "further: sort builtin": "maps.sort(key=len)",
    "further: clip out": "np.clip(maps[0], 0, 1, out=maps[0])",
    "further: add in place": "np.add(maps[0], 1, maps[0])",
    "further: exp in place": "np.exp(maps[0], maps[0])",
    "further: add at": "np.add.at(maps[0], [0], 5)",
    "further: byteswap": "maps[0].byteswap(True)",
    "further: nan_to_num": "np.nan_to_num(maps[0], copy=False)",
    "further: keras set": "keras.backend.set_value(model.weights[0], 0)",
    "further: load weights": "model.load_weights('x')",
    "further: set item of log by loc": "table = log\ntable[0]['score'] = 3",
    "further: copy.copy": "import copy\nm = copy.copy(maps)\nm[0].fill(0)",
    "further: In": "Out[3].append(3)",
    "further: underscore": "_.append(3)",
    "further: time magic set": "%%time\naccuracy = 3",
    "further: capture": "%%capture accuracy\nprint(3)",
    "further: magic assign": "accuracy = %timeit -o 3",
    "further: shell assign": "accuracy = !ls",
    "further: env magic": "%env HW4_SEED=3",
    "further: pip": "%pip install cheat",
    "further: timeit code": "%timeit maps.append(3)",
}  # fmt: skip


@pytest.mark.parametrize("source", FORGERIES.values(), ids=FORGERIES)
def test_a_cell_that_reaches_further_is_named(source):
    assert len(reach(source)) == 1


def test_what_a_prompt_leaves_among_the_builtins_is_not_known(monkeypatch):
    monkeypatch.setattr("builtins._", [], raising=False)
    assert len(reach("_.append(3)")) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("mine = maps", "mine.append(3)"),
        ("def f(c): c.append(3)", "f(maps)"),
        ("class A:\n    pass\na = A()\na.m = maps", "a.m.append(3)"),
    ],
)
def test_two_cells_together_reach_no_further_than_one(first, second):
    assert len(reach(first, second)) == 1


def test_what_an_own_cell_made_a_later_one_may_change():
    made = "net = keras.Sequential([layers.Dense(3)])\nseen = []\nfor i in range(3): last = {}"
    assert reach(made, "net.fit(x_train, y_train)\nseen.append(3)\nlast['a'] = 1") == []
    # but not what the reference has given the same name in between
    cells = [ABOVE, "net = []", "net = model", "net.append(3)", BELOW]
    assert reaches(cells, {1: "", 3: ""}) == {3: "it changes net"}


@pytest.mark.parametrize(
    "below",
    [
        "def f():\n    accuracy = 2\nclaims.equal(measured=accuracy)",
        "[accuracy for accuracy in xs]\nclaims.equal(measured=accuracy)",
        "if accuracy > 1: accuracy = 1",
        "if xs: accuracy = 1\nclaims.equal(measured=accuracy)",
        "for x in xs: accuracy += x",
        "for accuracy in xs: pass\nclaims.equal(measured=accuracy)",
        "while xs: accuracy = 1\nclaims.equal(measured=accuracy)",
        "try: accuracy = f()\nexcept ValueError: pass\nclaims.equal(measured=accuracy)",
        "class A: accuracy = 1\nclaims.equal(measured=accuracy)",
        "lambda accuracy: 1\nclaims.equal(measured=accuracy)",
        "accuracy = accuracy + 1",
        "accuracy += 1",
        "def f(): return accuracy\naccuracy = f()",
        "print(f'{accuracy}')",
        "accuracy[0] = 1",
    ],
)
def test_a_name_is_needed_that_is_not_surely_set_first(below):
    assert reach("accuracy = 1", below=below) == ["it sets accuracy"]


@pytest.mark.parametrize(
    "below",
    [
        "accuracy = 1\nclaims.equal(measured=accuracy)",
        "accuracy, x = 1, 2\nprint(accuracy)",
        "for accuracy in xs: print(accuracy)",
        "def accuracy(): pass\naccuracy()",
        "import math as accuracy\naccuracy.pi",
        "for x in xs:\n    accuracy = x\n    print(accuracy)",
        "def f(accuracy): return accuracy",
    ],
)
def test_a_name_is_free_that_is_surely_set_first(below):
    assert reach("accuracy = 1", below=below) == []


def test_what_the_reference_sets_in_its_place_it_may_set():
    assert reaches([ABOVE, "accuracy = 1", BELOW], {1: "accuracy = None"}) == {}


@pytest.mark.slow
def test_much_source_takes_no_time_and_is_named():
    chain = "\n".join(f"a{i} = a{i + 1}" for i in range(5000))
    assert reach(f"{chain}\na5000 = []\na0.append(3)") == []
    assert reach(f"{chain}\na5000 = maps\na0.append(3)") == ["it changes a0"]
    assert reach("x = 1\n" * 100_000) == ["it is too long to be looked through"]
    assert reach(f"x = {'-' * 5000}1") == ["it is no plain Python"]


# --- the committed notebooks -----------------------------------------------------------------

NOTEBOOKS = sorted(execute.find())


def cells_of(notebook):
    """Sources of all cells down to the last that shows claims."""
    sources = [cell.source for cell in notebook.code]
    last = max(n for n, source in enumerate(sources) if ".show()" in source)
    return sources[: last + 1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_name_that_a_claim_reads_is_kept(path):
    sources = cells_of(read(path))
    forged = 0
    for n, source in enumerate(sources):
        if not source.startswith("claims."):
            continue
        nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)]
        names = {node.id for node in nodes if isinstance(node.ctx, ast.Load)}
        for name in names - {node.id for node in nodes if isinstance(node.ctx, ast.Store)}:
            cells = [*sources[:n], f"{name} = 1", *sources[n:]]
            assert reaches(cells, {n: ""}) == {n: f"it sets {name}"}
            forged += 1
    assert forged > 10


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_solutions_and_what_students_are_given_are_no_finding(path):
    notebook = read(path)
    own = [n for n, cell in enumerate(notebook.code) if {"yours", "solution"} & set(cell.tags)]
    assert reaches([cell.source for cell in notebook.code], dict.fromkeys(own, "")) == {}
    blank = json.loads(path.read_text(encoding="utf-8"))
    blank = student.without_answers(blank, path.stem.split("_")[0])
    given = parse(path, json.dumps(blank).encode()).code
    own = [n for n, cell in enumerate(given) if "yours" in cell.tags]
    assert len(own) > 3
    assert reaches([cell.source for cell in given], dict.fromkeys(own, "")) == {}
