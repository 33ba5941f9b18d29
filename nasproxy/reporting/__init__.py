"""The report of a comparison: one HTML page that needs no network, figures for papers, tables, findings in words."""

from nasproxy.reporting.findings import describe_findings as describe_findings
from nasproxy.reporting.records import RunRecord as RunRecord
from nasproxy.reporting.report import write_replay_figure as write_replay_figure
from nasproxy.reporting.report import write_report as write_report
from nasproxy.reporting.tables import table_latex as table_latex
from nasproxy.reporting.tables import table_markdown as table_markdown
