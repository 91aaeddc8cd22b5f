"""The table of mutations: what is removed, in the words of the source, and the tests that are asked first.

Each *old* text stands exactly once in its file; where the source changes, the script says so and this table is
changed with it.
"""

from __future__ import annotations

from typing import NamedTuple


class Edit(NamedTuple):
    """One thing that keeps a promise, and the source without it."""

    name: str
    file: str
    old: str
    new: str
    first: str
    """The test file that is most likely to turn red."""


PROMISE_1 = "tests/promises/test_01_returned_is_durable.py"
PROMISE_2 = "tests/promises/test_02_whole_or_absent.py"
PROMISE_3 = "tests/promises/test_03_three_outcomes.py"
PROMISE_5 = "tests/promises/test_05_nothing_is_rewritten.py"
PROMISE_6 = "tests/promises/test_06_a_fault_stays_where_it_is.py"
PROMISE_6_NAMES = "tests/promises/test_06_names_that_others_make.py"
PROMISE_6_LOCK = "tests/promises/test_06_the_lock.py"
PROMISE_6_PLACES = "tests/promises/test_06_other_things_in_its_places.py"
WITHOUT_THE_LOCK = "tests/promises/test_syncs_without_the_lock.py"
INTERRUPTED = "tests/promises/test_syncs_interrupted.py"
PROMISE_7_NAMED = "tests/promises/test_07_what_was_named.py"
PROMISE_7_MERGES = "tests/promises/test_07_merges_whose_sync_failed.py"
PROMISE_7 = "tests/promises/test_07_tampering_shows.py"
PROMISE_10 = "tests/promises/test_10_the_users_call_is_not_broken.py"
VERIFYING = "tests/journal/verify"
SIMULATOR = "tests/promises/test_simulator.py"
COUNTING = "tests/projections/test_counting.py"
MERGING = "tests/journal/test_merge.py"
APPENDING = "tests/journal/test_append.py"
REPRICES = "tests/projections/test_reprices.py"
REPRICING = "tests/cli/test_reprice.py"
ADOPTING = "tests/journal/test_adopting.py"
CLOSING = "tests/accounting/test_close.py"
PROMISE_9 = "tests/promises/test_09_budgets_hold.py"
BUDGET_RACE = "tests/budgets/test_race.py"
BUDGET_GUARD = "tests/budgets/test_guard.py"
BUDGET_HOLDERS = "tests/budgets/test_holders.py"
BUDGET_MODEL = "tests/budgets/test_model.py"
BUDGET_COPIES = "tests/budgets/test_copies.py"
BUDGET_VERSIONS = "tests/budgets/test_versions.py"
VOCABULARIES = "tests/estimates/test_vocabularies.py"
TOKEN_COUNTING = "tests/estimates/test_counting.py"
CALIBRATION = "tests/estimates/test_calibration.py"
BATCHES = "tests/estimates/test_batch.py"
CHOICE = "tests/estimates/test_choice.py"
ESTIMATES_TABLE = "tests/projections/test_estimates.py"
ESTIMATOR = "tests/projections/test_estimator.py"
CONFIRMING = "tests/keprompt/test_asking_line.py"

EDITS = (
    Edit(
        "the sync of a line",
        "journal/_end.py",
        "            self._disk.sync(self.descriptor)\n",
        "            pass\n",
        PROMISE_1,
    ),
    Edit(
        "the system call behind it",
        "journal/_disk.py",
        "            os.fdatasync(descriptor)\n",
        "            pass\n",
        PROMISE_6,
    ),
    Edit(
        "the sync of a new segment's name",
        "journal/_newest.py",
        "                self._disk.sync_folder(folder)\n            except",
        "                pass\n            except",
        PROMISE_1,
    ),
    Edit(
        "the sync of a segment's name whose maker died",
        "journal/_newest.py",
        "        sync_folder(self._disk, tail.path.parent)\n",
        "        pass\n",
        PROMISE_1,
    ),
    Edit(
        "the sync of the names of a new home",
        "journal/_disk.py",
        "            os.fsync(parent)\n        finally:\n            os.close(parent)\n        self.sync_name(",
        "        finally:\n            os.close(parent)\n        str(",
        PROMISE_1,
    ),
    Edit(
        "the sync of names that a dead process made",
        "journal/_newest.py",
        "            self._disk.sync_name(path)\n",
        "            pass\n",
        PROMISE_1,
    ),
    Edit(
        "the sync of a dead process's lines before they are built upon",
        "journal/_newest.py",
        "            reason = self._sync_before_sealing(tail.descriptor, reason)\n",
        "            pass\n",
        PROMISE_1,
    ),
    Edit(
        "the sync of a price file before it gets its name",
        "journal/_disk.py",
        "                if synced:\n                    disk.sync(descriptor)\n",
        "",
        PROMISE_1,
    ),
    Edit(
        "price files before the event that names them",
        "journal/_adopting.py",
        "    _keep_files(home, appender.disk, adoptions)\n    events =",
        "    appender.append_locked([_adopted_event(adoption, actor) for adoption in adoptions])\n"
        "    _keep_files(home, appender.disk, adoptions)\n    events =",
        PROMISE_1,
    ),
    Edit(
        "the sync of the names in prices/",
        "journal/_adopting.py",
        "        sync_prices(home, disk)\n    except",
        "    except",
        PROMISE_1,
    ),
    Edit(
        "the exclusive create",
        "journal/_disk.py",
        "os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW",
        "os.O_CREAT | os.O_NOFOLLOW",
        PROMISE_5,
    ),
    Edit(
        "the refusal of a link in the lock's place",
        "journal/_disk.py",
        "flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK",
        "flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK",
        PROMISE_6_PLACES,
    ),
    Edit(
        "the check of an open appender's tail",
        "journal/_newest.py",
        '            self.open_next("unclean_tail")\n',
        "            tail.end = status.st_size\n",
        PROMISE_2,
    ),
    Edit(
        "the check of the tail where a segment is opened",
        "journal/_segment.py",
        "    return CleanEnd(window[cut:], digest, size) if digest is not None else None\n",
        "    return CleanEnd(window[cut:] if digest else window[:cut], digest or previous, size)\n",
        PROMISE_2,
    ),
    Edit(
        "the next segment after a failure",
        "journal/_writer.py",
        "            return self._write_again(events, failed)\n",
        "            del failed\n            return self._write(events)\n",
        PROMISE_6,
    ),
    Edit(
        "the rule that no sync is retried",
        "journal/_end.py",
        '        except OSError as error:\n            raise WriteFailed("sync_failed", error, True) from error\n',
        "        except OSError:\n            self._disk.sync(self.descriptor)\n",
        PROMISE_6,
    ),
    Edit(
        "the memory of a file whose sync failed",
        "journal/_newest.py",
        "        elif self._left is not None and",
        "        elif self._left is None and",
        PROMISE_6,
    ),
    Edit(
        "the name of the next segment after a sync that went on without the lock has failed",
        "journal/_newest.py",
        "            self._left = left\n            self._make_name(tail.number + 1)\n",
        "            self._left = left\n",
        WITHOUT_THE_LOCK,
    ),
    Edit(
        "the memory of a file whose sync failed without the lock",
        "journal/_newest.py",
        "            left = _Left(tail.path, self._unfinished,",
        "            left = _Left(tail.path.parent, self._unfinished,",
        WITHOUT_THE_LOCK,
    ),
    Edit(
        "the lines that others wrote behind a sync that failed",
        "journal/_newest.py",
        " or left.path.stat().st_size != left.size_bytes:\n",
        ":\n",
        WITHOUT_THE_LOCK,
    ),
    Edit(
        "the event written once more after a sync failed without the lock",
        "journal/_writer.py",
        "        return self._append_again(events, failed)\n",
        "        return [] if failed else self._append_again(events, failed)\n",
        WITHOUT_THE_LOCK,
    ),
    Edit(
        "the flock of a sync that goes on",
        "journal/_end.py",
        "            self._disk.share(self.descriptor)\n",
        "            pass\n",
        WITHOUT_THE_LOCK,
    ),
    Edit(
        "the wait for syncs where a segment is opened",
        "journal/_newest.py",
        "        if not self._disk.lock(tail.descriptor, limits.SYNC_WAIT_S):\n",
        "        if not tail.descriptor:\n",
        WITHOUT_THE_LOCK,
    ),
    Edit(
        "the word to others before a segment is begun",
        "journal/_newest.py",
        "        try:\n            self._lock.tell_others()\n",
        "        try:\n",
        PROMISE_6_NAMES,
    ),
    Edit(
        "the word to others before a merge",
        "journal/_writer.py",
        "        self._lock.tell_others()\n",
        "",
        PROMISE_6_NAMES,
    ),
    Edit(
        "the next segment where nobody can be told of it after a failed sync",
        "journal/_newest.py",
        '            if reason != "sync_failed":\n',
        "            if reason:\n",
        PROMISE_6_NAMES,
    ),
    Edit(
        "the sync of names by whoever finds a segment without an event",
        "journal/_newest.py",
        "        sync_folder(self._disk, tail.path.parent)\n        self._sync_names_above()\n",
        "",
        PROMISE_1,
    ),
    Edit(
        "the sync of a first line by whoever finds a segment without an event",
        "journal/_newest.py",
        "            self._disk.sync(tail.descriptor)\n        except",
        "            pass\n        except",
        INTERRUPTED,
    ),
    Edit(
        "the segment that is begun where that sync fails",
        "journal/_newest.py",
        '(self._home.segments(self.writer.writer), "sync_failed")\n            return False\n',
        "\n            return self._open_clean(tail.path)\n",
        INTERRUPTED,
    ),
    Edit(
        "the look at who had the lock since a sync failed",
        "journal/_newest.py",
        "        if self._lock.seen != left.seen or",
        "        if",
        PROMISE_7_NAMED,
    ),
    Edit(
        "the word of who names a line",
        "journal/_settled.py",
        "        _tell_appenders(home, disk)\n",
        "",
        PROMISE_7_NAMED,
    ),
    Edit(
        "the name behind a segment whose sync fails for who names",
        "journal/_settled.py",
        "            leave(home, disk, path)\n",
        "            pass\n",
        PROMISE_7_NAMED,
    ),
    Edit(
        "the memory of a failed sync",
        "journal/_settled.py",
        "        remember_unsynced(home, disk, path)\n",
        "        pass\n",
        PROMISE_7_MERGES,
    ),
    Edit(
        "the look at that memory by who names a line",
        "journal/_settled.py",
        "    refuse_unsynced(home, [path.parent.name])\n",
        "",
        PROMISE_7_MERGES,
    ),
    Edit(
        "the name behind a failed sync for the present writer alone",
        "journal/_settled.py",
        "        if present is not None and path.parent.name == present.writer:\n",
        "        if present is not None:\n",
        PROMISE_7_MERGES,
    ),
    Edit(
        "the sync of what a killed merge left, before anything is put above it",
        "journal/_merge.py",
        "            _sync_merged(home, appender.disk, theirs)  # above",
        "            # above",
        PROMISE_7_MERGES,
    ),
    Edit(
        "the lock of a merge that finds nothing new",
        "journal/_merge.py",
        "            with appender.locked():\n                _sync",
        "            if True:\n                _sync",
        PROMISE_7_MERGES,
    ),
    Edit(
        "the sync of the names on the way to a line that is named",
        "journal/_anchor.py",
        "        disk.sync_name(named)\n",
        "        pass\n",
        PROMISE_7_NAMED,
    ),
    Edit(
        "the name behind a segment that cannot be read back",
        "journal/_newest.py",
        '            if reason == "sync_failed":  # and the',
        '            if reason == "":  # and the',
        PROMISE_6_NAMES,
    ),
    Edit(
        "the second look at what stands, after a failed sync",
        "journal/_newest.py",
        "drop what they could not write\n                last = find_last(self._home, self.writer.writer)\n",
        "drop what they could not write\n                pass\n",
        PROMISE_6,
    ),
    Edit(
        "the giving back of a reader's lock for a forked child, too",
        "journal/_settled.py",
        "        disk.unlock(descriptor)\n",
        "        pass\n",
        PROMISE_6_LOCK,
    ),
    Edit(
        "the wait of who closes for who appends",
        "journal/_writer.py",
        "            if alone:\n",
        "            if True:\n",
        PROMISE_6_LOCK,
    ),
    Edit(
        "the sync of each segment of which a line is taken",
        "journal/_merge.py",
        "if int(path.stem) >= number]\n",
        "if int(path.stem) > number]\n",
        PROMISE_7_NAMED,
    ),
    Edit(
        "the descriptor of its own of the thread that waits",
        "journal/_disk.py",
        "                fcntl.flock(waiting, fcntl.LOCK_EX)\n",
        "                fcntl.flock(descriptor, fcntl.LOCK_EX)\n",
        PROMISE_6_LOCK,
    ),
    Edit(
        "the seals where the adopted book is looked for",
        "journal/_adoption.py",
        "_look_on(path, start, seals.get(number))",
        "_look_on(path, start, None)",
        "tests/journal/test_adoption.py",
    ),
    Edit(
        "the seals in the quick totals",
        "journal/_tail.py",
        "_fitting_backwards(path, seals.get(path.name))",
        "_fitting_backwards(path, None)",
        "tests/journal/test_tail.py",
    ),
    Edit(
        "the look for names now and then",
        "journal/_newest.py",
        " and 0 <= now - self._looked_us < limits.LOOKED_US_MAX:\n",
        ":\n",
        PROMISE_6_NAMES,
    ),
    Edit(
        "the look at whether the lock is still the home's",
        "journal/_lock.py",
        "                taken = self._look(descriptor) > 0\n",
        "                taken = self._look(descriptor) >= 0\n",
        PROMISE_6_NAMES,
    ),
    Edit(
        "the look for the next segment after that wait",
        "journal/_newest.py",
        "        if following.is_file() and not following.is_symlink():  # the sync",
        "        if not following:  # the sync",
        WITHOUT_THE_LOCK,
    ),
    Edit(
        "the leaving of a segment where a signal ended an append",
        "journal/_writer.py",
        "                    self._newest.abandon()\n",
        "",
        INTERRUPTED,
    ),
    Edit(
        "the closing of what a forked child inherits",
        "journal/_writer.py",
        "os.register_at_fork(after_in_child=_drop_inherited)\n",
        "",
        INTERRUPTED,
    ),
    Edit(
        "the wait for syncs where the lock is held for longer",
        "journal/_writer.py",
        "            wait_for_syncs(self.home, self.disk, self._lock.deadline_s)\n",
        "            pass\n",
        WITHOUT_THE_LOCK,
    ),
    Edit(
        "the look at what a failed sync has left",
        "journal/_newest.py",
        '        last = what_stands(tail.path, tail.last()) if reason == "sync_failed" else tail.last()\n',
        "        last = tail.last()\n",
        PROMISE_6,
    ),
    Edit(
        "the look below a position after a restart",
        "projections/_build.py",
        "            if not chain_leads_to(home, writer, position, manifest.read_from.get(writer, 1)):\n",
        "            if not chain_leads_to and writer and position:\n",
        "tests/projections/test_restart.py",
    ),
    Edit(
        "the segment behind one whose first line was not synced",
        "journal/_newest.py",
        "        except _NotSynced as failed:\n",
        "        except _NotSynced as failed:\n            raise\n",
        PROMISE_6,
    ),
    Edit(
        "the count of what a write took",
        "journal/_end.py",
        "        if written != len(data):\n",
        "        if written < 0:\n",
        PROMISE_6,
    ),
    Edit(
        "the outcome unknown",
        "journal/_writer.py",
        "            if failed.whole_lines:\n",
        "            if failed.whole_lines is None:\n",
        PROMISE_3,
    ),
    Edit(
        "the chain check",
        "journal/_line.py",
        "    return digest if line.endswith(",
        "    return digest if True or line.endswith(",
        PROMISE_7,
    ),
    Edit(
        "the check of seq",
        "journal/_verify_segment.py",
        "self.seq is not None and seq != self.seq + 1:",
        "self.seq is not None and seq < 0:",
        VERIFYING,
    ),
    Edit(
        "the seal",
        "journal/_segment.py",
        "            if length is not None and offset + len(line) > length:\n",
        "            if length is not None and offset + len(line) < 0:\n",
        PROMISE_6,
    ),
    Edit(
        "the rebuild of a cache that took bytes later sealed off",
        "journal/_reader.py",
        "        if since is not None and seals.get(since.segment, since.offset_bytes) < since.offset_bytes:\n",
        "        if since is not None and seals.get(since.segment, since.offset_bytes) < 0:\n",
        "tests/projections/test_cache.py",
    ),
    Edit(
        "the lock",
        "journal/_disk.py",
        "            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
        APPENDING,
    ),
    Edit(
        "the bound of the wait for the lock",
        "journal/_disk.py",
        "        return taken.acquire(timeout=wait_s)\n",
        "        return taken.acquire()\n",
        PROMISE_6_LOCK,
    ),
    Edit(
        "the dropping of a lock that was inherited by a fork",
        "journal/_lock.py",
        "            if os.getpid() != self._pid:\n",
        "            if not self._pid:\n",
        PROMISE_6_LOCK,
    ),
    Edit(
        "the dedupe",
        "projections/uncounted.sql",
        "    WHERE place > 1\n),\nvoid_placed",
        "    WHERE place > 1 AND input_sha256 <> first_sha256\n),\nvoid_placed",
        COUNTING,
    ),
    Edit(
        "the input's hash in what one event is",
        "projections/uncounted.sql",
        "        CASE WHEN input_sha256 = first_sha256 THEN 'copy' ELSE 'conflict' END AS reason\n",
        "        'copy' AS reason\n",
        COUNTING,
    ),
    Edit(
        "the naming of conflicts",
        "journal/_verify_conflicts.py",
        "if len(given) > 1]",
        "if len(given) > 2]",
        VERIFYING,
    ),
    Edit(
        "the refusal to merge a writer that went two ways",
        "journal/_merge.py",
        "        if left[0] == right[0] and left[1] != right[1]:\n",
        "        if left[0] == right[0] and left[1] == b'':\n",
        MERGING,
    ),
    Edit(
        "ticks above what was merged",
        "journal/_newest.py",
        "        self.tail.tick = max(self.tail.tick, highest_tick(self._home))\n",
        "        pass\n",
        MERGING,
    ),
    Edit(
        "prices/ never renamed in",
        "journal/_adopting.py",
        '    draft = home.path / "price-draft"\n',
        '    draft = home.prices / "price-draft"\n',
        PROMISE_5,
    ),
    Edit(
        "the spool",
        "journal/_watching.py",
        "must not go down with it\n            self._spool.keep(begin, end)\n",
        "must not go down with it\n",
        PROMISE_10,
    ),
    Edit(
        "reprices that are taken back",
        "projections/_reprices.py",
        " if reprice.id not in reverted]",
        "]",
        REPRICES,
    ),
    Edit(
        "the newest reprice before older ones",
        "projections/_reprices.py",
        " ANTI JOIN repriced AS r ON r.writer = p.writer AND r.seq = p.seq WHERE",
        " WHERE",
        REPRICES,
    ),
    Edit(
        "the positions up to which a reprice covers",
        "projections/_reprices.py",
        'return f"{condition} AND {_within(through)}", parameters',
        'return f"{condition}", parameters',
        REPRICES,
    ),
    Edit(
        "calls that come after the reprice that covers them",
        "projections/_opened.py",
        "repriced = bool(staged.reprices) or covers_any(connection, _TAIL, manifest.repriced_through)",
        "repriced = bool(staged.reprices)",
        REPRICES,
    ),
    Edit(
        "a reprice whose book is found again",
        "projections/_build.py",
        " or _is_applicable_again(home, manifest):",
        ":",
        REPRICES,
    ),
    Edit(
        "prices that another process has changed meanwhile",
        "journal/_adopting.py",
        "            if planned is None or planned.manifest.sha256 != based_on:\n",
        "            if planned is not None and planned.manifest.sha256 != based_on:\n",
        ADOPTING,
    ),
    Edit(
        "the second question about most of all calls",
        "cli/_reprice.py",
        "    if preview.changes_most:\n",
        "    if False:\n",
        REPRICING,
    ),
    Edit(
        "what others hold, in what is left of a budget",
        "journal/budgets/_standing.py",
        "        return self.limit_pico - self.spent_pico - self.held_pico\n",
        "        return self.limit_pico - self.spent_pico\n",
        PROMISE_9,
    ),
    Edit(
        "the lock of a holder file",
        "journal/budgets/_holders.py",
        "            if not self._disk.lock(descriptor, 0):\n",
        "            if False:\n",
        PROMISE_9,
    ),
    Edit(
        "that a lost hold counts",
        "journal/budgets/_set_budgets.py",
        'budget.on_lost == "release" else spent + sums[LOST]\n',
        'budget.on_lost == "release" else spent\n',
        BUDGET_MODEL,
    ),
    Edit(
        "that a copy of a call is counted once by budgets",
        "journal/budgets/_fold.py",
        "        if self.store.knows(event_id):\n            if hold is not None",
        "        if False:\n            if hold is not None",
        BUDGET_COPIES,
    ),
    Edit(
        "that no call goes out without its hold",
        "journal/budgets/_enforcement.py",
        "            if decision.may_go_on:\n",
        "            if True:\n",
        BUDGET_GUARD,
    ),
    Edit(
        "the look at what others wrote of the guard",
        "journal/budgets/_guard.py",
        "            if self._fold is None or self._stamp != self._present_stamp():\n",
        "            if self._fold is None:\n",
        BUDGET_GUARD,
    ),
    Edit(
        "the look at the line to which the guard has come",
        "journal/budgets/_guard.py",
        "        return stated is not None and stated.hex() == position.hash\n",
        "        return True\n",
        BUDGET_GUARD,
    ),
    Edit(
        "the refusal under what a later release has set",
        "journal/budgets/_enforcement.py",
        "unreadable = unreadable_refusals(fold) if fold.unreadable and fold.blocks else []\n",
        "unreadable = []\n",
        BUDGET_VERSIONS,
    ),
    Edit(
        "the look at whether what was folded was synced",
        "journal/budgets/_guard.py",
        "        if self._failures != self._appender.failures:\n",
        "        if False:\n",
        BUDGET_GUARD,
    ),
    Edit(
        "the look for a hold's file before another is renamed to it",
        "journal/budgets/_holders.py",
        "            if not self._disk.exists(path):",
        "            if True:",
        BUDGET_HOLDERS,
    ),
    Edit(
        "ids that were seen since the guard was opened",
        "journal/budgets/_store.py",
        "        self._kept_ids.add(event_id)\n",
        "",
        BUDGET_COPIES,
    ),
    Edit(
        "the hash of a vocabulary that estimates count by",
        "journal/estimates/_vocabularies.py",
        "        if content is not None and sha256(content).hexdigest() == vocabulary.sha256:\n",
        "        if content is not None:\n",
        VOCABULARIES,
    ),
    Edit(
        "that special tokens in an estimated text are text",
        "journal/estimates/_counting.py",
        "encoding.encode_ordinary(piece)",
        "encoding.encode(piece)",
        TOKEN_COUNTING,
    ),
    Edit(
        "that an estimated text is cut only where no token changes",
        "journal/estimates/_counting.py",
        "_CUT.search(text, start + piece_characters)",
        're.compile("").search(text, start + piece_characters)',
        TOKEN_COUNTING,
    ),
    Edit(
        "the conformal rank of an estimate's range",
        "journal/estimates/_calibration.py",
        "    rank = rank_of(95, len(ordered))\n",
        "    rank = rank_of(75, len(ordered))\n",
        CALIBRATION,
    ),
    Edit(
        "that estimates of many calls are drawn in blocks",
        "journal/estimates/_batch.py",
        "        length = max(1, min(BLOCK_MAX, len(past) // 5))\n",
        "        length = 1\n",
        BATCHES,
    ),
    Edit(
        "the most that a chosen model may cost, as estimates go",
        "journal/estimates/_choice.py",
        "    elif requirements.max_cost_pico is not None and candidate.p90_pico > requirements.max_cost_pico:\n",
        "    elif False:\n",
        CHOICE,
    ),
    Edit(
        "that estimates learn only from what was counted alike",
        "projections/duckdb_estimate_pairs.sql",
        " AND e.method = $3 AND",
        " AND $3 IS NOT NULL AND",
        ESTIMATOR,
    ),
    Edit(
        "that the first copy of an estimate counts",
        "projections/duckdb_estimate_fact.sql",
        "    e.copy = 1 AND ",
        "    ",
        ESTIMATES_TABLE,
    ),
    Edit(
        "that a call goes out only if it was confirmed, as its estimate asks",
        "journal/capture/_foresight_server.py",
        '        if answer == "yes":\n',
        "        if True:\n",
        CONFIRMING,
    ),
    Edit(
        "that an estimate of nine of ten decides whether a call is confirmed",
        "journal/capture/_foresight.py",
        "    return p90_usd is None or usd_to_pico(p90_usd) > usd_to_pico(confirm_above_usd)\n",
        "    return p90_usd is not None and usd_to_pico(p90_usd) > usd_to_pico(confirm_above_usd)\n",
        CONFIRMING,
    ),
)
