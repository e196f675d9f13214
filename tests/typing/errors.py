"""How a type checker sees the errors; checked by mypy, never run."""

from typing import assert_type

import hasten


def caught() -> int:
    try:
        hasten.install(object())
    except hasten.ConfigurationError as error:
        assert_type(error.where, str)
        assert_type(error.remedy, str)
        return error.exit_code
    except (hasten.TargetUnreachable, hasten.InvalidMeasurement) as error:
        assert_type(error, hasten.TargetUnreachable | hasten.InvalidMeasurement)
        return error.exit_code
    except hasten.HastenError as error:
        return assert_type(error.exit_code, int)
    return 0
