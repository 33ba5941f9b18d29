"""Settings of every command: frozen, typed, read from and written to TOML, overridden by `key=value`.

A command's settings are a tree of sections. What a run writes as `config.toml` is complete and is accepted back by
`--config`. Later sources win: defaults, the file, flags, trailing `key=value`.
"""

from nasproxy.config.describing import SettingInfo as SettingInfo
from nasproxy.config.describing import describe_commands as describe_commands
from nasproxy.config.describing import describe_setting as describe_setting
from nasproxy.config.reading import Tree as Tree
from nasproxy.config.reading import changed_settings as changed_settings
from nasproxy.config.reading import dump_config as dump_config
from nasproxy.config.reading import gather_settings as gather_settings
from nasproxy.config.reading import list_recipes as list_recipes
from nasproxy.config.reading import make_config as make_config
from nasproxy.config.reading import merge_layers as merge_layers
from nasproxy.config.reading import nest_settings as nest_settings
from nasproxy.config.reading import parse_overrides as parse_overrides
from nasproxy.config.reading import read_config as read_config
from nasproxy.config.reading import read_recipe as read_recipe
from nasproxy.config.reading import read_sections as read_sections
from nasproxy.config.reading import read_toml as read_toml
from nasproxy.config.reading import refuse_changes as refuse_changes
from nasproxy.config.reading import resumed_config as resumed_config
from nasproxy.config.reading import without_password as without_password
from nasproxy.config.settings import DASHBOARD_PORT as DASHBOARD_PORT
from nasproxy.config.settings import DEFAULT_SEEDS as DEFAULT_SEEDS
from nasproxy.config.settings import EVALUATION_RECIPES as EVALUATION_RECIPES
from nasproxy.config.settings import RECIPES as RECIPES
from nasproxy.config.settings import CombineConfig as CombineConfig
from nasproxy.config.settings import CommandConfig as CommandConfig
from nasproxy.config.settings import CompareConfig as CompareConfig
from nasproxy.config.settings import CompareSettings as CompareSettings
from nasproxy.config.settings import CondenseConfig as CondenseConfig
from nasproxy.config.settings import CondenseSettings as CondenseSettings
from nasproxy.config.settings import EvaluateConfig as EvaluateConfig
from nasproxy.config.settings import ImageSettings as ImageSettings
from nasproxy.config.settings import MachineSettings as MachineSettings
from nasproxy.config.settings import Metavar as Metavar
from nasproxy.config.settings import Precision as Precision
from nasproxy.config.settings import RankConfig as RankConfig
from nasproxy.config.settings import RankSettings as RankSettings
from nasproxy.config.settings import RecipeSettings as RecipeSettings
from nasproxy.config.settings import ReplayConfig as ReplayConfig
from nasproxy.config.settings import ReplaySettings as ReplaySettings
from nasproxy.config.settings import SearchConfig as SearchConfig
from nasproxy.config.settings import SearchSettings as SearchSettings
from nasproxy.config.settings import Settings as Settings
from nasproxy.config.settings import Share as Share
from nasproxy.config.settings import evaluation_recipe as evaluation_recipe
from nasproxy.config.settings import parse_duration as parse_duration
from nasproxy.config.settings import parse_sample as parse_sample
from nasproxy.config.settings import parse_share as parse_share
from nasproxy.config.settings import split_names as split_names
