# SPDX-License-Identifier: Apache-2.0
"""What tests on real daemons share: TAP, JSON-RPC, cells of processes."""
