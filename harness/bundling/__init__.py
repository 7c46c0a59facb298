"""The harness for a machine without network: bundles are made where there is one, and installed where there is none."""
