"""The guardian: failures of training, detected and rewound."""
