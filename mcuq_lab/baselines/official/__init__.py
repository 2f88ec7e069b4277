"""The official libraries themselves, where the user has them: found, checked, called, not copied.

Each adapter is written from its library's documented public functions. The library's files stay
where they are; what a network needs of them is compiled with it, and nothing else.
"""

from mcuq_lab.baselines.official.library import Library, library_in_folder, library_in_pack
from mcuq_lab.baselines.official.packs import find_pack

__all__ = ["Library", "find_pack", "library_in_folder", "library_in_pack"]
