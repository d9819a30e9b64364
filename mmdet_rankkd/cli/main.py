"""`rankkd`: one command for all that this package does.

A verb is a module beside this one. What takes time to import, a verb imports
when it runs, so that help and completions of a shell come at once.
"""

from typing import Dict, Tuple

import click

from mmdet_rankkd.version import __version__

from .check import check
from .convert import convert
from .demo import demo, demo_cls
from .distill import distill
from .doctor import doctor
from .export import export
from .figures import figures
from .make_config import make_config
from .pseudo_label import pseudo_label
from .report import report
from .sweep import sweep
from .test import test
from .tiny_imagenet import tiny_imagenet
from .train import train

SECTIONS: Dict[str, Tuple[click.Command, ...]] = {
    'Your detectors': (
        distill,
        doctor,
        check,
        train,
        test,
        report,
        export,
        convert,
        pseudo_label,
    ),
    'Experiments': (
        demo,
        demo_cls,
        sweep,
        figures,
        make_config,
        tiny_imagenet,
    ),
}


class Verbs(click.Group):
    """The group of all verbs, in sections."""

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the sections of the help."""
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(v.name or '', v.get_short_help_str(64)) for v in verbs]
                )


@click.group(
    cls=Verbs,
    commands=[v for verbs in SECTIONS.values() for v in verbs],
    context_settings=dict(
        help_option_names=['-h', '--help'], max_content_width=79
    ),
    epilog='"rankkd VERB -h" tells more. Completions for bash (or zsh, '
    'fish): eval "$(_RANKKD_COMPLETE=bash_source rankkd)"',
)
@click.version_option(__version__, prog_name='rankkd')
def main() -> None:
    """Knowledge distillation for MMDetection."""
