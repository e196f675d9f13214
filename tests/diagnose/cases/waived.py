"""What `# noqa` waives."""

import time


async def waived():
    time.sleep(1)  # noqa
    time.sleep(1)  # noqa: HS101
    time.sleep(1)  # noqa: HS
    time.sleep(1)  # NOQA:E501,HS1
    time.sleep(1)  # noqa: E501  # expect: HS101
    time.sleep(1)  # noqa: HS302  # expect: HS101
    text = "# noqa"; time.sleep(1)  # expect: HS101
    return text
