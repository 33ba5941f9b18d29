"""Searches on tables of scores instead of training: thousands of repetitions, or hundreds of simulated workers.

`replay` repeats a strategy and says what its picks cost; `simulation` runs one search as a cluster would, on a clock of
its own. Both use the schedule, and the simulation the recorder and the study, of a real search. The simulation is
imported by who needs it: its recorder is Ray's.
"""

from nasproxy.replaying.replay import HALVING as HALVING
from nasproxy.replaying.replay import REPLAYED as REPLAYED
from nasproxy.replaying.replay import Fidelity as Fidelity
from nasproxy.replaying.replay import Replay as Replay
from nasproxy.replaying.replay import ReplayPlan as ReplayPlan
from nasproxy.replaying.replay import Replays as Replays
from nasproxy.replaying.replay import plan_replay as plan_replay
from nasproxy.replaying.replay import replay as replay
